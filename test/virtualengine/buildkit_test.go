//go:build linux

package virtualengine

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withBuildKit is the same user with a CLI that speaks to the engine's BuildKit
// by itself, as those before 23 do. Later ones need a plugin for it.
func (u *user) withBuildKit() *user {
	u.t.Helper()
	for _, c := range u.stage.clis {
		major, _, _ := strings.Cut(c.version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < 23 {
			return u.with(c).setting("DOCKER_BUILDKIT=1", "BUILDKIT_PROGRESS=plain")
		}
	}
	u.t.Skip("there is no docker CLI older than 23 in PATH, nor in SKEP_TEST_DOCKER_CLIS")
	return nil
}

// withBuildx is the same user with the newest CLI and the plugin that
// SKEP_TEST_BUILDX names.
func (u *user) withBuildx() *user {
	u.t.Helper()
	plugin := os.Getenv("SKEP_TEST_BUILDX")
	if plugin == "" {
		u.t.Skip("SKEP_TEST_BUILDX names no buildx plugin")
	}
	config := u.t.TempDir()
	link := filepath.Join(config, "cli-plugins", "docker-buildx")
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o700), os.Symlink(plugin, link)); err != nil {
		u.t.Fatal(err)
	}
	return u.setting("DOCKER_BUILDKIT=1", "BUILDKIT_PROGRESS=plain", "DOCKER_CONFIG="+config)
}

const buildKitFile = `FROM scratch
ARG WHO=nobody
COPY tiny /bin/tiny
COPY text /text
ENV PATH=/bin WHO=$WHO
RUN ["tiny", "write", "/ran", "by the build"]
CMD ["tiny", "cat", "/text", "/ran"]
`

func TestBuildKit(t *testing.T) {
	plain := newUser(t)
	u := plain.withBuildKit()
	dir := u.buildContext(buildKitFile)
	u.sub("builds on one node what can be run at once", func(u *user) {
		u.docker("build", "-t", "built:1", dir).ok().complains("naming to docker.io/library/built:1")
		equal(u.t, "nodes", len(u.nodesWith("built:1")), 1)
		u.docker("run", "--rm", "built:1").ok().prints("in the context\nby the build\n")
	})
	u.sub("builds again where the cache is", func(u *user) {
		u.docker("build", "-t", "built:1", dir).ok().complains("CACHED")
		equal(u.t, "nodes", len(u.nodesWith("built:1")), 1)
	})
	u.sub("goes where its arguments say, which do not stay in the image", func(u *user) {
		u.docker("build", "-t", "built:2", "--build-arg", "constraint:rack==c", "--build-arg", "WHO=me", dir).ok()
		sameList(u.t, "nodes", u.nodesWith("built:2"), []string{"n3"})
		equal(u.t, "environment", u.out("image", "inspect", "-f", "{{.Config.Env}}", "built:2"), "[PATH=/bin WHO=me]")
		if history := u.out("history", "--no-trunc", "built:2"); strings.Contains(history, "constraint") {
			u.t.Errorf("the history tells of the constraint:\n%s", history)
		}
	})
	u.sub("says at once when no node will do", func(u *user) {
		for range 10 { // how far its session has come by then is up to chance
			u.docker("build", "--build-arg", "constraint:rack==z", dir).exits(1).complains(unplaceable, "[rack==z]").within(noticed)
		}
	})
	u.sub("of a Dockerfile or of a whole context on standard input", func(u *user) {
		u.typing("FROM tiny:1\nLABEL piped=yes\n").docker("build", "-t", "piped:1", "-").ok()
		equal(u.t, "label", u.out("image", "inspect", "-f", "{{.Config.Labels.piped}}", "piped:1"), "yes")
		u.typing(contextTar(u.t, dir)).docker("build", "-t", "piped:2", "--build-arg", "constraint:node==n2", "-").ok()
		sameList(u.t, "nodes", u.nodesWith("piped:2"), []string{"n2"})
		u.docker("run", "--rm", "piped:2").ok().prints("in the context\nby the build\n")
	})
	u.sub("reads secrets from the client and sends files back to it", func(u *user) {
		dir := u.buildContext("FROM tiny:1 AS work\nRUN --mount=type=secret,id=word [\"tiny\", \"cat\", \"/run/secrets/word\"]\nRUN [\"tiny\", \"write\", \"/result\", \"made there\"]\nFROM scratch\nCOPY --from=work /result /\n")
		out := u.t.TempDir()
		u.docker("build", "--no-cache", "--secret", "id=word,src="+filepath.Join(dir, "text"), "-o", out, dir).ok().complains("in the context")
		if got, err := os.ReadFile(filepath.Join(out, "result")); err != nil || !strings.HasPrefix(string(got), "made there") {
			u.t.Errorf("the build has sent %q, %v", got, err)
		}
	})
	u.sub("that fails says where", func(u *user) {
		u.docker("build", u.buildContext("FROM tiny:1\nRUN [\"tiny\", \"exit\", \"3\"]\n")).exits(1).complains("exit code: 3")
		u.docker("build", u.buildContext("FROM tiny:1\nCOPY nothing /\n")).exits(1).complains("nothing")
	})
	u.sub("two at the same time, on two nodes", func(u *user) {
		const file = "FROM tiny:1\nARG N\nRUN [\"tiny\", \"sleep\", \"2s\"]\n"
		dir := u.buildContext(file)
		var both []*background
		for _, node := range []string{"n1", "n3"} {
			both = append(both, u.start("build", "--no-cache", "-t", "both:"+node, "--build-arg", "constraint:node=="+node, dir))
		}
		for _, b := range both {
			b.wait(30 * time.Second).ok()
		}
		for _, node := range []string{"n1", "n3"} {
			sameList(u.t, "nodes", u.nodesWith("both:"+node), []string{node})
		}
	})
	u.sub("ends on the engine when the client is interrupted", func(u *user) {
		const lasting = "3217s"
		b := u.start("build", "--build-arg", "constraint:node==n2", u.buildContext("FROM tiny:1\nRUN [\"tiny\", \"sleep\", \""+lasting+"\"]\n"))
		u.eventually(20*time.Second, func() error { return processes(lasting, true) })
		b.signal(syscall.SIGINT)
		if r := b.wait(20 * time.Second); r.code == 0 {
			u.t.Errorf("%s", r)
		}
		u.eventually(20*time.Second, func() error { return processes(lasting, false) })
	})
	u.sub("leaves caches that are pruned on all nodes", func(u *user) {
		caches := func() (n int) {
			for _, m := range u.stage.lab.Machines() {
				n += u.on(m.Name).buildCaches()
			}
			return n
		}
		equal(u.t, "build caches", u.buildCaches(), caches())
		u.docker("builder", "prune", "-af").ok().shows("Total reclaimed space:")
		equal(u.t, "build caches that are left", caches(), 0)
	})
	u.sub("a cancel without an ID is refused", func(u *user) {
		resp, err := u.boss.client().Post("http://skep/build/cancel", "", nil)
		if err != nil {
			u.t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "build ID not provided") {
			u.t.Errorf("%s %s", resp.Status, body)
		}
	})
}

// buildCaches is how many records of build cache the system has.
func (u *user) buildCaches() int {
	u.t.Helper()
	for _, line := range u.docker("system", "df", "--format", "{{json .}}").ok().lines() {
		var row struct{ Type, TotalCount string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			u.t.Fatal(err)
		}
		if row.Type == "Build Cache" {
			n, _ := strconv.Atoi(row.TotalCount)
			return n
		}
	}
	u.t.Fatal("docker system df does not speak of build caches")
	return 0
}

// contextTar is a directory as a tar file.
func contextTar(t *testing.T, dir string) string {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// processes fails unless there are, or are none, processes with this argument.
// It sees those of all machines of the lab.
func processes(argument string, wanted bool) error {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	found := slices.ContainsFunc(lines, func(path string) bool {
		line, err := os.ReadFile(path) // the process may have ended
		return err == nil && strings.HasPrefix(string(line), "tiny\x00sleep\x00"+argument)
	})
	if found != wanted {
		return fmt.Errorf("a process with the argument %s: %v", argument, found)
	}
	return nil
}

// The engine must answer as HTTP/2 after the upgrade, on either connection.
func TestBuildKit_itsConnectionsReachAnEngine(t *testing.T) {
	u := newUser(t)
	for _, tc := range []struct{ path, header string }{
		{"/grpc", ""},
		{"/v1.41/grpc", ""},
		// The client has a control connection, so that its session waits for no build.
		{"/session", "X-Docker-Expose-Session-Uuid: one\r\n"},
	} {
		conn, err := net.Dial("unix", u.boss.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: skep\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%s\r\n", tc.path, tc.header)
		head := make([]byte, len("HTTP/1.1 101"))
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101" {
			t.Fatalf("POST %s: %q, %v", tc.path, head, err)
		}
		if tc.path == "/session" {
			// Here the engine is the client of HTTP/2, and speaks first.
			continue
		}
		// The preface of HTTP/2 and empty settings; the engine's settings come back.
		_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		rest := make([]byte, 0, 4096)
		for !bytes.Contains(rest, []byte("\r\n\r\n")) || len(rest[bytes.Index(rest, []byte("\r\n\r\n"))+4:]) < 9 {
			n, err := conn.Read(rest[len(rest):cap(rest)])
			if err != nil {
				t.Fatalf("POST %s: after %q: %v", tc.path, rest, err)
			}
			rest = rest[:len(rest)+n]
		}
		frame := rest[bytes.Index(rest, []byte("\r\n\r\n"))+4:]
		if frame[3] != 4 {
			t.Errorf("POST %s: the first frame is %q, no settings", tc.path, frame)
		}
	}
	resp, err := u.boss.client().Post("http://skep/grpc", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	equal(t, "status of a request that is no upgrade", resp.StatusCode, http.StatusBadRequest)
}

func TestBuildKit_withBuildx(t *testing.T) {
	plain := newUser(t)
	u := plain.withBuildx()
	dir := u.buildContext(buildKitFile)
	u.sub("docker build is known and can be run at once", func(u *user) {
		u.docker("build", "-t", "built:1", dir).ok()
		sameList(u.t, "nodes", u.nodesWith("built:1"), []string{"n1"})
		u.docker("run", "--rm", "built:1").ok().prints("in the context\nby the build\n")
	})
	u.sub("an older client at the same time is placed as it wishes", func(u *user) {
		long := u.start("build", "--no-cache", "-t", "long:1", u.buildContext("FROM tiny:1\nRUN [\"tiny\", \"sleep\", \"3s\"]\n"))
		plain.withBuildKit().docker("build", "-t", "older:1", "--build-arg", "constraint:node==n2", dir).ok()
		sameList(u.t, "nodes", u.nodesWith("older:1"), []string{"n2"})
		long.wait(30 * time.Second).ok()
		sameList(u.t, "nodes", u.nodesWith("long:1"), []string{"n1"})
	})
	u.sub("the next build finds the cache", func(u *user) {
		u.docker("build", "-t", "built:1", dir).ok().complains("CACHED")
	})
	u.sub("ends on the engine when the client is interrupted", func(u *user) {
		const lasting = "3218s"
		b := u.start("build", u.buildContext("FROM tiny:1\nRUN [\"tiny\", \"sleep\", \""+lasting+"\"]\n"))
		u.eventually(20*time.Second, func() error { return processes(lasting, true) })
		b.signal(syscall.SIGINT)
		b.wait(20 * time.Second)
		u.eventually(20*time.Second, func() error { return processes(lasting, false) })
	})
	u.sub("buildx ls, du and prune", func(u *user) {
		u.docker("buildx", "ls").ok().shows("docker", "running")
		u.docker("buildx", "du").ok().shows("Total:")
		u.docker("buildx", "prune", "-af").ok()
	})
}

// behindEnginesOfToday is the same user at a manager that recommends BuildKit,
// as it does when all engines do. The lab's are older, so that a proxy says it.
func (u *user) behindEnginesOfToday() *user {
	u.t.Helper()
	path := filepath.Join(u.stage.Dir, "recommends.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		u.t.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "skep" },
		Transport:     u.boss.client().Transport,
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			if r.Header.Get("Builder-Version") != "" {
				r.Header.Set("Builder-Version", "2")
			}
			return nil
		},
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	u.t.Cleanup(func() {
		server.Close()
		<-served
	})
	v := *u
	v.host = "unix://" + path
	return &v
}

func TestBuildKit_recommendedToClients(t *testing.T) {
	u := newUser(t).setting("DOCKER_BUILDKIT=", "BUILDKIT_PROGRESS=plain").behindEnginesOfToday()
	dir := u.buildContext(buildKitFile)
	for _, c := range u.stage.clis {
		u.sub("docker "+c.version+" builds with what it has", func(u *user) {
			r := u.with(c).docker("build", "-t", "any:1", dir).ok()
			classic := strings.Contains(r.stdout, "Successfully tagged any:1")
			if kit := strings.Contains(r.stderr, "naming to docker.io/library/any:1"); kit == classic {
				u.t.Errorf("with which builder?\n%s", r)
			}
			if strings.HasPrefix(c.version, "20.") && classic {
				u.t.Errorf("it did not go by the recommendation\n%s", r)
			}
			equal(u.t, "nodes", len(u.nodesWith("any:1")), 1)
		})
	}
}
