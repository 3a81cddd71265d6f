//go:build linux

package service_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// skep runs a command of skep to its end.
func skep(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(os.Getenv(skepBin), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("skep %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// background starts a command of skep that goes on.
func background(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, append([]string{os.Getenv(skepBin)}, args...)...)
}

func (p *process) awaits(text string) {
	p.t.Helper()
	await(p.t, text, func() bool { return strings.Contains(p.said(), text) })
}

func TestHub_withItsClientsOverTLS(t *testing.T) {
	former, next := newAuthority(t, "former CA"), newAuthority(t, "next CA")
	files, addr := former.identity(t, "hub"), freePort(t)
	hub := background(t, "hub", "--listen", addr, "--data", filepath.Join(t.TempDir(), "hub.db"),
		"--tlscert", files.file("cert.pem"), "--tlskey", files.file("key.pem"))
	hub.awaits("the hub is ready")
	trust := "token.cacertfile=" + files.file("ca.pem")
	token := strings.TrimSpace(skep(t, "create", "--hub", "https://"+addr, "--discovery-opt", trust))
	at := "token://" + addr + "/" + token

	engine := engine(t, nil)
	join := background(t, "join", "--advertise", engine, "--heartbeat", "1s", "--ttl", "1h", "--discovery-opt", trust, at)
	await(t, "the engine is listed", func() bool { return skep(t, "list", "--discovery-opt", trust, at) == engine+"\n" })
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "-H", "unix://"+socket, "--heartbeat", "1s", "--discovery-opt", trust, at)
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()

	// The hub's certificate is renewed, by another CA. Clients read their CA
	// when they start, so these two only find out that they are strangers.
	renewed := next.identity(t, "hub, renewed")
	files.become(renewed)
	hub.signal(syscall.SIGHUP)
	await(t, "the new certificate is shown", func() bool {
		conn, err := tls.Dial("tcp", addr, renewed.client())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if got := skep(t, "list", "--discovery-opt", trust, at); got != engine+"\n" {
		t.Errorf("after the reload: %q", got)
	}
	join.awaits("Registering failed, it is tried again")
	docker.prints("sim-c1", "ps") // what is known stays known

	p.stop()
	join.signal(syscall.SIGTERM)
	join.ends()
	hub.signal(syscall.SIGTERM)
	hub.ends()
}

func TestHub_aHangupWithoutTLSDoesNotEndIt(t *testing.T) {
	addr := freePort(t)
	hub := background(t, "hub", "--listen", addr, "--data", filepath.Join(t.TempDir(), "hub.db"))
	hub.awaits("the hub is ready")
	hub.signal(syscall.SIGHUP)
	token := strings.TrimSpace(skep(t, "create", "--hub", "http://"+addr))
	at := "token://" + addr + "/" + token

	join := background(t, "join", "--advertise", "10.0.0.1:2375", "--ttl", "1h", at)
	await(t, "the engine is listed", func() bool { return skep(t, "list", at) == "10.0.0.1:2375\n" })
	join.signal(syscall.SIGTERM)
	join.ends()
	if got := skep(t, "list", at); got != "" {
		t.Errorf("who has left is still listed: %q", got)
	}
	hub.signal(syscall.SIGTERM)
	hub.ends()
}
