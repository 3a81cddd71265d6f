package build_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skep/skep/internal/enginetest"
)

// control opens gRPC over a connection to /grpc, as clients of BuildKit do. It
// fails where they do: when there is no upgrade.
func (d *frontDoor) control() *grpc.ClientConn {
	d.t.Helper()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			return nil, err
		}
		_, _ = io.WriteString(conn, "POST /grpc HTTP/1.1\r\nHost: skep\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			err = fmt.Errorf("unable to upgrade, received %d", resp.StatusCode)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return bufferedConn{conn, in}, nil
	}
	c, err := grpc.NewClient("passthrough:///skep", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.in.Read(p) }

const listWorkers = "/moby.buildkit.v1.Control/ListWorkers"

// ask makes the first call that a client of BuildKit makes.
func (d *frontDoor) ask() error {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	c := d.control()
	defer c.Close()
	return c.Invoke(ctx, listWorkers, &emptypb.Empty{}, &emptypb.Empty{})
}

// Clients of BuildKit show nothing of the answer to an upgrade that is refused.
func TestBuildKit_aRefusedConnectionSaysWhyInEveryCall(t *testing.T) {
	for name, c := range map[string]struct {
		engine func(*enginetest.Engine)
		want   string
	}{
		"by an engine that does not know it": {
			func(e *enginetest.Engine) { e.Fail("POST", "/grpc", http.StatusNotFound, "page not found") },
			"node n1 gives no connection to its BuildKit: page not found; ",
		},
		"in any script": {
			func(e *enginetest.Engine) {
				e.Fail("POST", "/grpc", http.StatusForbidden, "100% verboten für alle\n\tauch")
			},
			"node n1 gives no connection to its BuildKit: 100% verboten für alle\n\tauch; ",
		},
		"by an engine that hangs up": {
			func(e *enginetest.Engine) {
				e.Handle("POST", "/grpc", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			},
			"node n1 gives no connection to its BuildKit: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine := enginetest.Start(t, enginetest.Config{})
			c.engine(engine)
			d := open(t, engine)
			conn := d.control()
			for range 3 {
				err := conn.Invoke(t.Context(), listWorkers, &emptypb.Empty{}, &emptypb.Empty{})
				if got := status.Convert(err); got.Code() != codes.FailedPrecondition || !strings.HasPrefix(got.Message(), c.want) {
					t.Fatalf("a call: %q, want %q", got, c.want)
				}
			}
			stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/moby.buildkit.v1.Control/Session")
			if err != nil {
				t.Fatal(err)
			}
			if got := status.Convert(stream.RecvMsg(&emptypb.Empty{})); !strings.HasPrefix(got.Message(), c.want) {
				t.Errorf("a stream: %q", got)
			}
		})
	}
}

func TestBuildKit_aRefusedClientThatSaysNothingIsLetGo(t *testing.T) {
	t.Parallel() // it is given a few seconds
	c := <-open(t).upgrade("/grpc", "")
	if c.status != http.StatusSwitchingProtocols {
		t.Fatalf("%d %s", c.status, c.where)
	}
	began := time.Now()
	_, _ = io.Copy(io.Discard, c.in)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("that took %s", took)
	}
}
