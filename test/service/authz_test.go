//go:build linux

package service_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/docker/go-plugins-helpers/authorization"
)

// pluginSocket is set for a child process of the tests, which is a plugin then.
const pluginSocket = "SKEP_TEST_PLUGIN"

// TestPlugin is no test: it is an authorization plugin made with Docker's own
// library, for the tests that need one.
func TestPlugin(t *testing.T) {
	path := os.Getenv(pluginSocket)
	if path == "" {
		t.Skip("it is for child processes")
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening")
	t.Fatal(authorization.NewHandler(rules{}).Serve(l))
}

// rules are those of a site that lets its users do most things.
type rules struct{}

var _ authorization.Plugin = rules{}

func deny(why string) authorization.Response { return authorization.Response{Msg: why} }

// AuthZReq is asked about requests.
func (rules) AuthZReq(r authorization.Request) authorization.Response {
	switch {
	case r.RequestMethod == http.MethodDelete:
		return deny("nothing is removed here")
	case strings.Contains(r.RequestURI, "/volumes"):
		return deny("volumes are none of yours")
	case strings.Contains(string(r.RequestBody), `"Privileged":true`):
		return deny("no privileges")
	case strings.Contains(r.RequestURI, "/networks"):
		return authorization.Response{Err: "the rules for networks are lost"}
	case strings.Contains(r.RequestURI, "name=hang"):
		fmt.Println("thinking")
		select {} // until somebody kills it
	case len(r.RequestPeerCertificates) > 0 && (r.User != "ada" || r.RequestPeerCertificates[0].Subject.CommonName != "ada"):
		return deny("who is " + r.User + "?")
	}
	return authorization.Response{Allow: true}
}

// AuthZRes is asked about answers.
func (rules) AuthZRes(r authorization.Request) authorization.Response {
	if strings.HasSuffix(r.RequestURI, "/containers/sim-c2/json") && len(r.ResponseBody) > 0 {
		return deny("sim-c2 is not for all eyes")
	}
	return authorization.Response{Allow: true}
}

// plugin is the child process.
type plugin struct {
	t    *testing.T
	cmd  *exec.Cmd
	said *bufio.Reader
}

// startPlugin starts it at a socket where Docker, and so skep, looks for
// plugins.
func startPlugin(t *testing.T) (p *plugin, name string) {
	t.Helper()
	const dir = "/run/docker/plugins"
	made := false
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Skipf("plugins need a socket in %s: %v", dir, err)
	}
	name = fmt.Sprintf("skep-test-%d", os.Getpid())
	path := filepath.Join(dir, name+".sock")
	t.Cleanup(func() {
		os.Remove(path)
		if made {
			os.Remove(dir) // fails where somebody else has moved in
		}
	})
	p = &plugin{t: t}
	p.start(path)
	t.Cleanup(p.kill)
	return p, name
}

func (p *plugin) start(path string) {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "-test.run", "^TestPlugin$")
	p.cmd.Env = append(os.Environ(), pluginSocket+"="+path)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.said = bufio.NewReader(out)
	p.says("listening")
}

func (p *plugin) says(want string) {
	p.t.Helper()
	if line, err := p.said.ReadString('\n'); err != nil || line != want+"\n" {
		p.t.Fatalf("the plugin said %q, %v; want %q", line, err, want)
	}
}

// kill ends it in the middle of whatever it does.
func (p *plugin) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// creates counts the containers that an engine was asked for.
type creates struct{ atomic.Int32 }

func (c *creates) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/containers/create") {
			c.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func TestAuthZ_aPluginOfDockersLibraryDecides(t *testing.T) {
	_, name := startPlugin(t)
	var asked creates
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "--authorization-plugin", name, "-H", "unix://"+socket, "nodes://"+engine(t, asked.wrap))
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()
	docker.prints("skep", "version")
	no := "authorization denied by plugin " + name + ": "
	docker.fails(no+"nothing is removed here", "rm", "-f", "sim-c1")
	docker.fails(no+"volumes are none of yours", "volume", "ls")
	docker.fails(no+"no privileges", "create", "--privileged", "--network", "none", "busybox")
	docker.fails("plugin "+name+" failed with error: AuthZPlugin.AuthZReq: ", "network", "ls")
	docker.fails("the rules for networks are lost", "network", "ls")
	if n := asked.Load(); n != 0 {
		t.Errorf("the engine was asked for %d containers", n)
	}
	docker.prints("", "create", "--network", "none", "busybox")
	docker.prints("sim-c1", "inspect", "--type", "container", "sim-c1")
	docker.fails(no+"sim-c2 is not for all eyes", "inspect", "--type", "container", "sim-c2")
	p.stop()
}

func TestAuthZ_aPluginThatDiesWhileItThinksHasAllowedNothing(t *testing.T) {
	mind, name := startPlugin(t)
	var asked creates
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "--authorization-plugin", name, "-H", "unix://"+socket, "nodes://"+engine(t, asked.wrap))
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()
	docker.prints("", "create", "--network", "none", "busybox")
	before := asked.Load()

	created := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = docker.run("create", "--name", "hang", "--network", "none", "busybox")
		created <- err
	}()
	mind.says("thinking")
	mind.kill()
	if err := <-created; err == nil || !strings.Contains(out, "plugin "+name+" failed with error: ") {
		t.Errorf("%v %s", err, out)
	}
	docker.fails("plugin "+name+" failed with error: ", "version")
	if n := asked.Load(); n != before {
		t.Errorf("the engine was asked for %d more containers", n-before)
	}

	path := filepath.Join("/run/docker/plugins", name+".sock")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mind.start(path)
	docker.prints("skep", "version")
	docker.prints("", "create", "--network", "none", "busybox")
	p.stop()
}

func TestAuthZ_aPluginKnowsWhoAsksByTheCertificate(t *testing.T) {
	_, name := startPlugin(t)
	ca, addr := newAuthority(t, "CA"), freePort(t)
	p := manage(t, append(ca.identity(t, "manager").flags(), "--authorization-plugin", name, "-H", addr, "nodes://127.0.0.1:1")...)
	ca.identity(t, "ada").docker(addr).prints("skep", "version")
	ca.identity(t, "eve").docker(addr).fails("authorization denied by plugin "+name+": who is eve?", "version")
	p.stop()
}
