//go:build linux

package virtualengine

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExec(t *testing.T) {
	u := newUser(t)
	// One on each node: the right one must be found.
	for _, node := range []string{"n1", "n2", "n3"} {
		u.run("--name", "on-"+node, "-e", "constraint:node=="+node, "--hostname", "host-"+node, tiny, "tiny", "sleep")
	}
	u.sub("runs in the container that is named", func(u *user) {
		for _, node := range []string{"n1", "n2", "n3"} {
			u.docker("exec", "on-"+node, "tiny", "id").ok().silent().shows("host=host-" + node)
			u.docker("exec", node+"/on-"+node, "tiny", "id").ok().shows("host=host-" + node)
		}
	})
	u.sub("keeps the two streams apart", func(u *user) {
		r := u.docker("exec", "on-n2", "tiny", "err", "alas").ok().prints("")
		equal(u.t, "standard error", r.stderr, "alas\n")
	})
	u.sub("ends with the program's status", func(u *user) {
		for _, code := range []int{0, 1, 42, 255} {
			u.docker("exec", "on-n2", "tiny", "exit", fmt.Sprint(code)).exits(code)
		}
		u.docker("exec", "on-n2", "nothing").exits(126).shows("executable file not found in $PATH")
		u.docker("exec", "on-n2", "/plain.txt").exits(126)
	})
	u.sub("takes standard input to its end with -i", func(u *user) {
		much := strings.Repeat("0123456789abcde\n", 1<<16)
		u.typing(much).docker("exec", "-i", "on-n3", "tiny", "sum").ok().
			prints(fmt.Sprintf("%d %x\n", len(much), sha256.Sum256([]byte(much))))
		u.typing("ignored").docker("exec", "on-n3", "tiny", "cat").ok().prints("")
	})
	u.sub("gives all output, also a lot of it", func(u *user) {
		r := u.docker("exec", "on-n1", "tiny", "spam", "20000").ok()
		equal(u.t, "lines", len(r.lines()), 18000)
		equal(u.t, "errors", strings.Count(r.stderr, "\n"), 2000)
		r.shows("\nline 19999\n")
	})
	u.sub("sets user, directory and environment", func(u *user) {
		u.docker("exec", "-u", "5:6", "-w", "/bin", "on-n1", "tiny", "id").ok().shows("uid=5 gid=6", "dir=/bin")
		u.docker("exec", "-e", "A=1", "-e", "B=2", "on-n1", "tiny", "env").ok().shows("A=1\n", "B=2\n")
	})
	u.sub("goes on by itself with -d", func(u *user) {
		u.docker("exec", "-d", "on-n2", "tiny", "write", "/written", "in the background").ok().prints("")
		u.eventually(noticed, func() error {
			if r := u.docker("exec", "on-n2", "tiny", "cat", "/written"); r.stdout != "in the background\n" {
				return errors.New(r.String())
			}
			return nil
		})
	})
	u.sub("has a terminal with -t, of the user's size", func(u *user) {
		b := u.terminal("exec", "-it", "on-n1", "tiny", "tty", "40x120")
		b.resize(40, 120)
		b.wait(15 * time.Second).ok().shows("terminal 40x120")
		u.docker("exec", "on-n1", "tiny", "tty").ok().prints("no terminal\n")
	})
	u.sub("is a conversation in a terminal", func(u *user) {
		b := u.terminal("exec", "-it", "on-n3", "tiny", "shell")
		b.expect("> ")
		b.send("hello\n")
		b.expect("you said hello")
		b.send("exit 4\n")
		b.wait(10 * time.Second).exits(4)
	})
	u.sub("is left by the detach keys", func(u *user) {
		b := u.terminal("exec", "-it", "--detach-keys", "ctrl-x,d", "on-n3", "tiny", "shell")
		b.expect("> ")
		b.send("\x18d")
		b.wait(10 * time.Second).exits(1).shows("read escape sequence")
	})
	u.sub("many at once do not mix", func(u *user) {
		var all []*background
		for i := range 20 {
			all = append(all, u.start("exec", fmt.Sprint("on-n", i%3+1), "tiny", "echo", fmt.Sprintf("it is %d on n%d", i, i%3+1)))
		}
		for i, b := range all {
			b.wait(30 * time.Second).ok().prints(fmt.Sprintf("it is %d on n%d\n", i, i%3+1))
		}
	})
	u.sub("needs a container that runs", func(u *user) {
		u.docker("exec", "nobody", "tiny").exits(1).complains("No such container: nobody")
		id := u.out("create", "--name", "idle", tiny)
		u.docker("exec", "idle", "tiny", "echo").exits(1).complains("Container " + id + " is not running")
	})
	u.sub("ends when its container does", func(u *user) {
		u.run("--name", "doomed", tiny, "tiny", "stay")
		b := u.start("exec", "doomed", "tiny", "tick")
		b.expect("tick 3\n")
		u.docker("kill", "doomed").ok()
		b.wait(10 * time.Second).exits(137)
	})
}

func TestAttach(t *testing.T) {
	u := newUser(t)
	u.sub("shows what comes, and passes on what is typed", func(u *user) {
		u.run("-i", "--name", "talker", tiny, "tiny", "shell")
		b := u.start("attach", "talker")
		b.send("one\n")
		b.expect("you said one")
		b.send("exit 6\n")
		b.wait(10 * time.Second).exits(6)
	})
	u.sub("several see the same", func(u *user) {
		u.run("--name", "ticker", tiny, "tiny", "tick")
		a, b := u.start("attach", "--no-stdin", "ticker"), u.start("attach", "--no-stdin", "ticker")
		a.expect("tick ", 3)
		b.expect("tick ", 3)
		u.docker("stop", "ticker").ok()
		a.wait(10 * time.Second).ok()
		b.wait(10 * time.Second).ok()
	})
	u.sub("passes signals on; who is killed leaves the container alone", func(u *user) {
		u.run("--name", "signalled", tiny, "tiny", "signals")
		b := u.start("attach", "signalled")
		b.expect("ready") // said again and again
		b.signal(syscall.SIGHUP)
		b.expect("got SIGHUP")
		c := u.start("attach", "signalled")
		c.expect("ready")
		c.kill()
		equal(u.t, "status", u.inspect("{{.State.Status}}", "signalled"), "running")
		b.signal(syscall.SIGTERM)
		b.wait(10 * time.Second).exits(143)
	})
	u.sub("in a terminal it is left by the detach keys, and can be taken up again", func(u *user) {
		u.run("-it", "--name", "screen", tiny, "tiny", "shell")
		b := u.terminal("attach", "screen")
		b.send("first\n")
		b.expect("you said first")
		b.send("\x10\x11")
		b.wait(10 * time.Second).exits(1).shows("read escape sequence")
		b = u.terminal("attach", "screen")
		b.send("second\n")
		b.expect("you said second")
		b.send("exit 0\n")
		b.wait(10 * time.Second).ok()
	})
	u.sub("needs a container that runs", func(u *user) {
		u.docker("attach", "nobody").exits(1).complains("No such container: nobody")
		u.docker("create", "--name", "idle", tiny).ok()
		u.docker("attach", "idle").exits(1).complains("cannot attach to a stopped container")
	})
}

func TestLogs(t *testing.T) {
	u := newUser(t)
	u.docker("run", "--network", "none", "--name", "spammer", tiny, "tiny", "spam", "1000").ok()
	u.sub("all of both streams", func(u *user) {
		r := u.docker("logs", "spammer").ok()
		equal(u.t, "lines", len(r.lines()), 900)
		equal(u.t, "errors", strings.Count(r.stderr, "\n"), 100)
		equal(u.t, "last line", r.lines()[899], "line 999")
	})
	u.sub("the last lines with --tail", func(u *user) {
		r := u.docker("logs", "--tail", "3", "spammer").ok() // of both streams, as the engine got them
		equal(u.t, "lines", len(r.lines())+strings.Count(r.stderr, "\n"), 3)
		u.docker("logs", "-n", "0", "spammer").ok().prints("").silent()
	})
	u.sub("with times with -t", func(u *user) {
		stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d+$`)
		for _, line := range u.docker("logs", "-t", "--tail", "20", "spammer").ok().lines() {
			if !stamp.MatchString(line) {
				u.t.Errorf("no time in %q", line)
			}
		}
	})
	u.sub("from --since, up to --until", func(u *user) {
		u.docker("logs", "--since", "2030-01-01T00:00:00Z", "spammer").ok().prints("").silent()
		u.docker("logs", "--until", "2020-01-01T00:00:00Z", "spammer").ok().prints("").silent()
		equal(u.t, "lines", len(u.docker("logs", "--since", "1h", "spammer").ok().lines()), 900)
	})
	u.sub("follows with -f to the container's end", func(u *user) {
		u.run("--name", "ticker", tiny, "tiny", "tick")
		b := u.start("logs", "-f", "ticker")
		b.expect("tick 1\n")
		b.expect("tick 5\n")
		b.running()
		u.docker("stop", "ticker").ok()
		b.wait(10 * time.Second).ok()
	})
	u.sub("follows from the end with --tail 0", func(u *user) {
		u.docker("start", "ticker").ok()
		b := u.start("logs", "-f", "--tail", "0", "ticker")
		b.expect("tick ", 2)
		if strings.HasPrefix(b.out.String(), "tick 1\n") {
			u.t.Error("the past is shown")
		}
		u.docker("rm", "-f", "ticker").ok()
		b.wait(10 * time.Second).ok()
	})
	u.sub("of a container with a terminal as they are", func(u *user) {
		u.docker("run", "-t", "--network", "none", "--name", "screen", tiny, "tiny", "echo", "raw").ok()
		u.docker("logs", "screen").ok().prints("raw\r\n")
	})
	u.sub("of nobody", func(u *user) {
		u.docker("logs", "nobody").exits(1).complains("No such container: nobody")
		u.docker("logs", "--since", "whenever", "spammer").exits(1)
	})
}

func TestCopy(t *testing.T) {
	u := newUser(t)
	u.run("--name", "box", "-e", "constraint:node==n2", tiny, "tiny", "sleep")
	dir := u.t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	u.sub("a file goes in and comes out", func(u *user) {
		path := write("file", "content\n")
		u.docker("cp", path, "box:/file").ok()
		u.docker("exec", "box", "tiny", "cat", "/file").ok().prints("content\n")
		u.docker("cp", "box:/file", filepath.Join(dir, "back")).ok()
		got, err := os.ReadFile(filepath.Join(dir, "back"))
		if err != nil || string(got) != "content\n" {
			u.t.Errorf("what came back is %q, %v", got, err)
		}
		u.docker("cp", path, "n2/box:/other").ok()
		u.docker("exec", "box", "tiny", "cat", "/other").ok().prints("content\n")
	})
	u.sub("a directory goes in and comes out", func(u *user) {
		write("tree/a/one", "1\n")
		write("tree/a/b/two", "2\n")
		u.docker("cp", filepath.Join(dir, "tree"), "box:/tree").ok()
		u.docker("exec", "box", "tiny", "cat", "/tree/a/one", "/tree/a/b/two").ok().prints("1\n2\n")
		u.docker("cp", "box:/tree/.", filepath.Join(dir, "copy")).ok()
		got, err := os.ReadFile(filepath.Join(dir, "copy/a/b/two"))
		if err != nil || string(got) != "2\n" {
			u.t.Errorf("what came back is %q, %v", got, err)
		}
	})
	u.sub("a tar stream goes in and comes out", func(u *user) {
		image, err := tarOf(map[string]file{"streamed": {[]byte("from tar\n"), 0o600}})
		if err != nil {
			u.t.Fatal(err)
		}
		u.typing(string(image)).docker("cp", "-", "box:/bin").ok()
		r := u.docker("cp", "box:/bin/streamed", "-").ok()
		content := tar.NewReader(strings.NewReader(r.stdout))
		header, err := content.Next()
		if err != nil {
			u.t.Fatal(err)
		}
		data, err := io.ReadAll(content)
		if header.Name != "streamed" || header.Mode&0o777 != 0o600 || string(data) != "from tar\n" || err != nil {
			u.t.Errorf("the tar has %q, mode %o, %q, %v", header.Name, header.Mode, data, err)
		}
	})
	u.sub("a large file arrives whole", func(u *user) {
		data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
		path := write("large", string(data))
		u.docker("cp", "-q", path, "box:/large").ok()
		u.docker("cp", "-q", "box:/large", path+".back").ok()
		back, err := os.ReadFile(path + ".back")
		if !bytes.Equal(back, data) || err != nil {
			u.t.Errorf("%d bytes came back of %d, %v", len(back), len(data), err)
		}
	})
	u.sub("works with a container that does not run", func(u *user) {
		u.docker("create", "--name", "idle", tiny).ok()
		u.docker("cp", write("later", "later\n"), "idle:/later").ok()
		u.docker("cp", "idle:/plain.txt", "-").ok().shows("no program")
	})
	u.sub("says what is not there", func(u *user) {
		u.docker("cp", "box:/none", dir).exits(1).complains("Could not find the file /none in container")
		u.docker("cp", write("x", ""), "box:/no/such/dir/").exits(1)
		u.docker("cp", "nobody:/x", dir).exits(1).complains("No such container: nobody")
	})
}

func TestLook(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "busy", "--memory", "64m", tiny, "tiny", "sleep")
	u.run("--name", "second", tiny, "tiny", "sleep")
	u.run("--name", "third", tiny, "tiny", "sleep")
	u.sub("top lists the processes", func(u *user) {
		u.docker("top", "busy").ok().shows("UID", "PID", "tiny sleep")
		u.docker("top", "busy", "-o", "pid,args").ok().shows("COMMAND", "tiny sleep")
		u.docker("top", "nobody").exits(1).complains("No such container: nobody")
	})
	u.sub("stats has a line for each, or those that are named", func(u *user) {
		r := u.docker("stats", "--no-stream", "--format", "{{.ID}} {{.Name}} {{.MemUsage}}", "busy").ok()
		r.shows(id[:12], "busy", "/ 64MiB")
		equal(u.t, "lines", len(r.lines()), 1)
		all := u.docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}").ok()
		equal(u.t, "lines", len(all.lines()), 3)
		for _, line := range all.lines() {
			if strings.HasSuffix(line, " 0") || strings.HasSuffix(line, "--") {
				u.t.Errorf("no measure in %q", line)
			}
		}
		u.docker("stats", "--no-stream", "nobody").exits(1).complains("No such container: nobody")
	})
	u.sub("stats goes on until it is interrupted, and takes up new containers", func(u *user) {
		b := u.start("stats", "--format", "{{.Name}}")
		b.expect("third", 2)
		u.run("--name", "fourth", tiny, "tiny", "sleep")
		b.expect("fourth")
		b.signal(syscall.SIGINT)
		select {
		case <-b.done:
		case <-time.After(10 * time.Second):
			u.t.Errorf("it does not end\n%s", b)
		}
	})
	u.sub("diff lists what has changed", func(u *user) {
		u.docker("diff", "busy").ok().prints("")
		u.docker("exec", "busy", "tiny", "touch", "/new/file").ok()
		u.docker("exec", "busy", "tiny", "remove", "/plain.txt").ok()
		r := u.docker("diff", "busy").ok()
		sameList(u.t, "changes", sorted(r.lines()...), []string{"A /new", "A /new/file", "D /plain.txt"})
		u.docker("diff", "nobody").exits(1).complains("No such container: nobody")
	})
	u.sub("export is the file system as a tar", func(u *user) {
		path := filepath.Join(u.t.TempDir(), "export.tar")
		u.docker("export", "-o", path, "busy").ok()
		f, err := os.Open(path)
		if err != nil {
			u.t.Fatal(err)
		}
		defer f.Close()
		files := map[string]bool{}
		for r := tar.NewReader(f); ; {
			header, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				u.t.Fatal(err)
			}
			files[header.Name] = true
		}
		if !files["bin/tiny"] || !files["new/file"] || files["plain.txt"] {
			u.t.Errorf("the tar holds %v", files)
		}
		u.docker("export", "nobody", "-o", path).exits(1).complains("No such container: nobody")
	})
	u.sub("commit makes an image of it, to be run at once", func(u *user) {
		image := u.out("commit", "-m", "what I did", "-a", "me", "-c", `CMD ["tiny","cat","/new/text"]`, "busy", "snapshot:1")
		equal(u.t, "author", u.out("image", "inspect", "-f", "{{.Author}} {{.Comment}} {{.Id}}", "snapshot:1"), "me what I did "+image)
		u.docker("exec", "busy", "tiny", "write", "/new/text", "committed").ok()
		u.docker("commit", "-c", `CMD ["tiny","cat","/new/text"]`, "n1/busy", "snapshot:1")
		u.docker("commit", "-p=false", "-c", `CMD ["tiny","cat","/new/text"]`, u.nodeOf("busy")+"/busy", "snapshot:2").ok()
		u.docker("run", "--rm", "snapshot:2").ok().prints("committed\n")
		u.docker("commit", "nobody").exits(1).complains("No such container: nobody")
	})
}
