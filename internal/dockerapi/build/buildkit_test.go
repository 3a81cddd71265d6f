package build_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// withConnections makes engines answer /session and /grpc as BuildKit does: they
// take the connection over, say where it has come to, and echo.
func withConnections(t *testing.T, engines ...*enginetest.Engine) []*enginetest.Engine {
	t.Helper()
	for _, e := range engines {
		echo := func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n%s %s\n", e.Name(), r.Header.Get("X-Docker-Expose-Session-Name"))
			_, _ = io.Copy(conn, rw)
		}
		e.Handle("POST", "/session", echo)
		e.Handle("POST", "/grpc", echo)
	}
	return engines
}

// connection is one that was upgraded, or refused.
type connection struct {
	conn   net.Conn
	status int
	where  string // the first line after an upgrade, else the body
	in     *bufio.Reader
}

// upgrade asks for a connection in the background.
func (d *frontDoor) upgrade(path, header string) <-chan connection {
	d.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: skep\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%s\r\n", path, header)
	got := make(chan connection, 1)
	go func() {
		defer close(got)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return // the test has closed it
		}
		c := connection{conn: conn, status: resp.StatusCode, in: in}
		if c.status == http.StatusSwitchingProtocols {
			c.where, _ = in.ReadString('\n')
		} else {
			body, _ := io.ReadAll(resp.Body)
			c.where = string(body)
		}
		got <- c
	}()
	return got
}

func (d *frontDoor) session(id, more string) <-chan connection {
	d.t.Helper()
	return d.upgrade("/session", "X-Docker-Expose-Session-Uuid: "+id+"\r\nX-Docker-Expose-Session-Name: files\r\n"+more)
}

func (d *frontDoor) wantUpgraded(c connection, where string) {
	d.t.Helper()
	if c.status != http.StatusSwitchingProtocols || c.where != where+"\n" {
		d.t.Fatalf("%d %q, want an upgrade on %s", c.status, c.where, where)
	}
	_, _ = io.WriteString(c.conn, "bytes\n")
	if back, err := c.in.ReadString('\n'); back != "bytes\n" {
		d.t.Errorf("%q, %v came back", back, err)
	}
}

func TestBuildKit_sessionUploadAndCancelFollowTheBuild(t *testing.T) {
	engines := withConnections(t, enginetest.StartMany(t, 3)...)
	d := open(t, engines...)
	session := d.session("s1", "")
	uploaded := make(chan string, 1)
	go func() {
		status, body := d.Call("POST", "/build?version=2&buildid=upload-request:b1", strings.NewReader("context"))
		uploaded <- fmt.Sprint(status, body)
	}()
	status, body := d.Call("POST", `/build?version=2&session=s1&buildid=b1&remote=upload-request&buildargs={"constraint:node":"=n2"}`, nil)
	if status != http.StatusOK || strings.Contains(body, `"n2"`) {
		t.Errorf("%d %s", status, body)
	}
	d.wantUpgraded(<-session, "n2 files")
	<-uploaded
	d.Want("POST", "/build/cancel?id=b1", nil, http.StatusOK, "")
	for _, e := range engines {
		want := 0
		if e.Name() == "n2" {
			want = 1
		}
		uploads := slices.DeleteFunc(e.Requests("POST /build?"), func(r string) bool {
			return !strings.Contains(r, "buildid=upload-request%3Ab1")
		})
		for what, got := range map[string]int{
			"builds": len(e.Requests("POST /build?")) - len(uploads), "uploads": len(uploads),
			"cancels": len(e.Requests("POST /build/cancel")), "sessions": len(e.Requests("POST /session")),
		} {
			if got != want {
				t.Errorf("%s got %d %s, want %d", e.Name(), got, what, want)
			}
		}
	}
}

func TestBuildKit_outputIsTheEnginesToTheByte(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	const output = `{"id":"moby.buildkit.trace","aux":"CpwBCkdz"}` + "\n" + `{ "stream" :"x"}` + "\r\n"
	engine.Handle("POST", "/build", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, output) })
	d := open(t, engine)
	if _, body := d.Call("POST", "/build?version=2", nil); body != output {
		t.Errorf("%q", body)
	}
}

func TestBuildKit_sessionThatIsSomewhereKeepsItsBuildThere(t *testing.T) {
	engines := withConnections(t, enginetest.StartMany(t, 3)...)
	d := open(t, engines...)
	if status, body := d.Call("POST", `/build?version=2&session=s&buildargs={"constraint:node":"=n3"}`, nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	d.wantUpgraded(<-d.session("s", ""), "n3 files")
	if status, body := d.Call("POST", `/build?version=2&session=s&t=second`, nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	wantNames(t, "built on", builtOn(engines), "n3", "n3")
	status, body := d.Call("POST", `/build?version=2&session=s&buildargs={"constraint:node":"=n1"}`, nil)
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "the session of this build is on node n3") {
		t.Errorf("%d %s", status, body)
	}
}

// The CLI shows why a build was refused only when its session has begun and is
// over.
func TestBuildKit_refusalKeepsNobodyWaiting(t *testing.T) {
	d := open(t, withConnections(t, enginetest.StartMany(t, 2)...)...)
	began := time.Now()
	session := d.session("s", "")
	uploaded := make(chan string, 1)
	go func() {
		status, body := d.Call("POST", "/build?version=2&buildid=upload-request:b", strings.NewReader("context"))
		uploaded <- fmt.Sprint(status, " ", body)
	}()
	status, body := d.Call("POST", `/build?version=2&session=s&buildid=b&buildargs={"constraint:node":"=n9"}`, nil)
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "node is not n9") {
		t.Errorf("%d %s", status, body)
	}
	// One that comes later than the refusal is ended too: its client has tried to
	// before it began, and will not again.
	for _, c := range []connection{<-session, <-d.session("s", "")} {
		if c.status != http.StatusSwitchingProtocols || c.where != "" {
			t.Errorf("the session got %d %q", c.status, c.where)
		}
	}
	if got := <-uploaded; !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "the build was refused") {
		t.Errorf("the upload got %s", got)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("that took %s", took)
	}
}

func TestBuildKit_controlConnectionsOfAllClientsGoToOneEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	old := enginetest.Start(t, enginetest.Config{Name: "a0", ID: "old", API: "1.38", IP: "10.77.9.9"})
	windows := enginetest.Start(t, enginetest.Config{Name: "a1", OSType: "windows", IP: "10.77.9.8"})
	d := open(t, withConnections(t, append(engines, old, windows)...)...)
	for _, agent := range []string{"one", "two"} {
		d.wantUpgraded(<-d.upgrade("/grpc", "User-Agent: "+agent+"\r\n"), "n1 ")
	}
	// A session of such a client has no build to wait for.
	began := time.Now()
	d.wantUpgraded(<-d.session("x", "User-Agent: one\r\n"), "n1 files")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the session has waited for %s", took)
	}
	// An older client beside it is not taken for one of them.
	session := d.session("y", "User-Agent: three\r\n")
	if status, body := d.Call("POST", `/build?version=2&session=y&buildargs={"constraint:node":"=n3"}`, nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	d.wantUpgraded(<-session, "n3 files")
}

func TestBuildKit_goesOnlyWhereItIs(t *testing.T) {
	engines := []*enginetest.Engine{
		enginetest.Start(t, enginetest.Config{Name: "n1", API: "1.38", IP: "10.77.1.1"}),
		enginetest.Start(t, enginetest.Config{Name: "n2", OSType: "windows", IP: "10.77.1.2"}),
	}
	d := open(t, engines...)
	if status, body := d.Call("POST", "/build?version=2", nil); status != http.StatusServiceUnavailable || !strings.Contains(body, "no engine that answers now has BuildKit") {
		t.Errorf("%d %s", status, body)
	}
	if err := d.ask(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "no engine that answers now has BuildKit") {
		t.Error(err)
	}
	wantNames(t, "built on", builtOn(engines))
}

func TestBuildKit_requestsThatLackSomething(t *testing.T) {
	d := open(t, enginetest.StartMany(t, 1)...)
	if c := <-d.upgrade("/session", ""); c.status != http.StatusBadRequest || !strings.Contains(c.where, "no session ID provided") {
		t.Errorf("%d %s", c.status, c.where)
	}
	d.Want("POST", "/build?version=2&buildid=upload-request:", nil, http.StatusBadRequest, `{"message":"build ID not provided"}`)
	for _, path := range []string{"/session", "/grpc"} {
		if status, body := d.Call("POST", path, nil); status != http.StatusBadRequest || !strings.Contains(body, "Upgrade: h2c") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestBuildKit_sessionIsNotBoundToAnEngineThatIsLost(t *testing.T) {
	engines := withConnections(t, enginetest.StartMany(t, 2)...)
	c := enginetest.Cluster(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, engines...)
	d := serve(t, c)
	if status, body := d.Call("POST", `/build?version=2&session=s&buildid=b&buildargs={"constraint:node":"=n1"}`, nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	engines[0].Freeze()
	enginetest.WaitUnhealthy(t, c, 1)
	if status, body := d.Call("POST", "/build?version=2&session=s&buildid=b", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	d.wantUpgraded(<-d.session("s", ""), "n2 files")
	d.wantUpgraded(<-d.upgrade("/grpc", ""), "n2 ")
	d.Want("POST", "/build/cancel?id=b", nil, http.StatusOK, "")
	wantNames(t, "cancels on n2", engines[1].Requests("POST /build/cancel"), "POST /build/cancel?id=b")
}

func TestBuildKit_controlConnectionsGoToTheEngineThatIsLabelledForThem(t *testing.T) {
	engines := []*enginetest.Engine{
		enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.77.1.1"}),
		enginetest.Start(t, enginetest.Config{Name: "n2", IP: "10.77.1.2", Labels: []string{"skep.builder=no"}}),
		enginetest.Start(t, enginetest.Config{Name: "n3", IP: "10.77.1.3", Labels: []string{"skep.builder=true"}}),
		enginetest.Start(t, enginetest.Config{Name: "n4", IP: "10.77.1.4", Labels: []string{"skep.builder=true"}}),
	}
	c := enginetest.Cluster(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, withConnections(t, engines...)...)
	d := serve(t, c)
	d.wantUpgraded(<-d.upgrade("/grpc", ""), "n3 ")
	engines[2].Freeze()
	enginetest.WaitUnhealthy(t, c, 1)
	d.wantUpgraded(<-d.upgrade("/grpc", ""), "n4 ")
	engines[3].Freeze()
	enginetest.WaitUnhealthy(t, c, 2)
	d.wantUpgraded(<-d.upgrade("/grpc", ""), "n1 ")
}

// An engine ends a build whose client's connection ends.
func TestBuildKit_connectionsEndWithTheirClient(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	ended := make(chan string, 2)
	for _, path := range []string{"/grpc", "/session"} {
		engine.Handle("POST", path, func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\n")
			_, _ = io.Copy(io.Discard, rw)
			ended <- path
		})
	}
	d := open(t, engine)
	control, session := <-d.upgrade("/grpc", ""), <-d.session("s", "")
	for _, c := range []connection{control, session} {
		if c.status != http.StatusSwitchingProtocols {
			t.Fatalf("%d %s", c.status, c.where)
		}
		c.conn.Close()
		<-ended
	}
}
