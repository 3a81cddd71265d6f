//go:build linux

package virtualengine

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// TestSDK uses the official Go client, as programs do: with the version that it
// negotiates, and with old ones.
func TestSDK(t *testing.T) {
	u := newUser(t)
	t.Run("with the version that is negotiated", func(t *testing.T) { testSDK(t, u.host) })
	// Before 1.30 the client of today cannot wait for a container.
	for _, version := range []string{"1.30", "1.40"} {
		t.Run("with version "+version, func(t *testing.T) { testSDK(t, u.host, client.WithAPIVersion(version)) })
	}
}

func testSDK(t *testing.T, host string, opts ...client.Opt) {
	c, err := client.New(append(opts, client.WithHost(host))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx, client.InfoOptions{})
	must(err)
	equal(t, "OSType", info.Info.OSType, "linux")
	began := time.Now()

	created, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:       "sdk",
		Config:     &container.Config{Image: tiny, Cmd: []string{"tiny", "shell"}, OpenStdin: true, AttachStdin: true, AttachStdout: true, StdinOnce: true, Env: []string{"constraint:node==n2"}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	must(err)
	defer c.ContainerRemove(context.WithoutCancel(ctx), created.ID, client.ContainerRemoveOptions{Force: true})
	attached, err := c.ContainerAttach(ctx, created.ID, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	must(err)
	defer attached.Close()
	_, err = c.ContainerStart(ctx, "sdk", client.ContainerStartOptions{})
	must(err)
	waited := c.ContainerWait(ctx, created.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})

	list, err := c.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("name", "sdk")})
	must(err)
	if len(list.Items) != 1 || list.Items[0].ID != created.ID || !slices.Equal(list.Items[0].Names, []string{"/n2/sdk"}) {
		t.Errorf("the list is %+v", list.Items)
	}
	inspected, err := c.ContainerInspect(ctx, "n2/sdk", client.ContainerInspectOptions{})
	must(err)
	if !inspected.Container.State.Running || !bytes.Contains(inspected.Raw, []byte(`"Node":{"ID":"`)) {
		t.Errorf("inspect says %s", inspected.Raw)
	}

	// An exec, with input and its end.
	exec, err := c.ExecCreate(ctx, "sdk", client.ExecCreateOptions{Cmd: []string{"tiny", "cat"}, AttachStdin: true, AttachStdout: true, AttachStderr: true})
	must(err)
	stream, err := c.ExecAttach(ctx, exec.ID, client.ExecAttachOptions{})
	must(err)
	defer stream.Close()
	_, err = io.WriteString(stream.Conn, "through the SDK")
	must(err)
	must(stream.CloseWrite())
	var out, errs bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &errs, stream.Reader)
	must(err)
	equal(t, "output of the exec", out.String(), "through the SDK")
	done, err := c.ExecInspect(ctx, exec.ID, client.ExecInspectOptions{})
	must(err)
	if done.Running || done.ExitCode != 0 || done.ContainerID != created.ID {
		t.Errorf("the exec is %+v", done)
	}

	// The container's own streams.
	_, err = io.WriteString(attached.Conn, "hello\nexit 7\n")
	must(err)
	out.Reset()
	_, err = stdcopy.StdCopy(&out, &errs, attached.Reader)
	must(err)
	equal(t, "output", out.String(), "> you said hello\n> ")
	select {
	case end := <-waited.Result:
		equal(t, "status", end.StatusCode, 7)
	case err := <-waited.Error:
		t.Error(err)
	}
	logs, err := c.ContainerLogs(ctx, "sdk", client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	must(err)
	defer logs.Close()
	out.Reset()
	_, err = stdcopy.StdCopy(&out, &errs, logs)
	must(err)
	equal(t, "logs", out.String(), "> you said hello\n> ")

	events := c.Events(ctx, client.EventsListOptions{
		Since: fmt.Sprint(began.Unix()), Until: now(), Filters: make(client.Filters).Add("container", created.ID),
	})
	var told []string
	for more := true; more; {
		select {
		case e := <-events.Messages:
			action, _, _ := strings.Cut(string(e.Action), ":")
			told = append(told, action)
			equal(t, "node of the event", e.Actor.Attributes["node.name"], "n2")
		case err := <-events.Err:
			if err != io.EOF {
				t.Error(err)
			}
			more = false
		}
	}
	sameList(t, "events", sorted(told...), []string{"attach", "create", "die", "exec_create", "exec_die", "exec_start", "start"})

	_, err = c.ContainerRemove(ctx, "sdk", client.ContainerRemoveOptions{})
	must(err)
	if _, err = c.ContainerInspect(ctx, "sdk", client.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("inspect of what is gone: %v", err)
	}
	if _, err = c.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{Image: tiny, Env: []string{"constraint:rack==z"}}}); !errdefs.IsUnavailable(err) {
		t.Errorf("create of what cannot be placed: %v", err)
	}
}

// dial opens a raw connection to the manager.
func (u *user) dial() net.Conn {
	u.t.Helper()
	conn, err := net.Dial("unix", u.boss.socket)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		u.t.Fatal(err)
	}
	return conn
}

// TestAPI is what no client of today does any more, or only browsers do.
func TestAPI(t *testing.T) {
	u := newUser(t)
	u.sub("attach without an upgrade is a raw stream behind 200", func(u *user) {
		u.run("-it", "--name", "old", tiny, "tiny", "shell")
		conn := u.dial()
		fmt.Fprint(conn, "POST /v1.24/containers/old/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: skep\r\nContent-Type: text/plain\r\n\r\n")
		reader := bufio.NewReader(conn)
		status, err := reader.ReadString('\n')
		if err != nil || !strings.HasPrefix(status, "HTTP/1.1 200 ") {
			u.t.Fatalf("answer %q, %v", status, err)
		}
		fmt.Fprint(conn, "hello\nexit 0\n")
		rest, _ := io.ReadAll(reader)
		if !strings.Contains(string(rest), "you said hello") {
			u.t.Errorf("the stream is %q", rest)
		}
	})
	u.sub("attach over a web socket", func(u *user) {
		u.run("-it", "--name", "socket", tiny, "tiny", "shell")
		conn := u.dial()
		fmt.Fprint(conn, "GET /containers/socket/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: skep\r\nOrigin: http://skep\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			u.t.Fatalf("answer %v, %v", resp, err)
		}
		// A masked binary frame, with a mask of zeros.
		_, _ = conn.Write(append([]byte{0x82, 0x80 | 6, 0, 0, 0, 0}, "hello\n"...))
		var got []byte
		buf := make([]byte, 512)
		for !bytes.Contains(got, []byte("you said hello")) {
			n, err := reader.Read(buf)
			if err != nil {
				u.t.Fatalf("%v after %q", err, got)
			}
			got = append(got, buf[:n]...)
		}
	})
	u.sub("every answer says what the server is", func(u *user) {
		for _, path := range []string{"/_ping", "/info", "/nosuch", "/containers/nobody/json"} {
			resp, err := u.boss.client().Get("http://skep" + path)
			if err != nil {
				u.t.Fatal(err)
			}
			resp.Body.Close()
			for header, want := range map[string]string{"Api-Version": "1.41", "Ostype": "linux", "Docker-Experimental": "false"} {
				if got := resp.Header.Get(header); got != want && header != "Api-Version" || got == "" {
					u.t.Errorf("GET %s: %s is %q, want %q", path, header, got, want)
				}
			}
		}
		resp, err := u.boss.client().Head("http://skep/_ping")
		if err != nil {
			u.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Builder-Version") != "1" || resp.Header.Get("Swarm") != "inactive" {
			u.t.Errorf("HEAD /_ping: %s %v", resp.Status, resp.Header)
		}
	})
	u.sub("bodies that are none are refused, and nothing falls over", func(u *user) {
		for _, tc := range []struct{ path, body, want string }{
			{"/containers/create", "", "config cannot be empty"},
			{"/containers/create", "{", "invalid JSON"},
			{"/containers/create", "[]", "invalid JSON"},
			{"/containers/create", `{"Image":7}`, "invalid JSON"},
			{"/containers/create", `{"Image":"` + tiny + `","HostConfig":[]}`, "invalid JSON"},
			{"/containers/create", `{"Image":"` + tiny + `","Labels":{"a":1}}`, "invalid JSON"},
			{"/networks/create", "{", "invalid JSON"},
			{"/volumes/create", "[1]", "invalid JSON"},
		} {
			if status, body := u.post(tc.path, tc.body); status != 400 || !strings.Contains(body, tc.want) {
				u.t.Errorf("POST %s %q: status %d: %s", tc.path, tc.body, status, body)
			}
		}
		if status, body := u.call("GET", "/containers/json?filters=%7B"); status != 400 {
			u.t.Errorf("filters that are no JSON: status %d: %s", status, body)
		}
		u.docker("ps").ok()
	})
}
