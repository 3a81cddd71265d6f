package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/cli"
)

// background runs a command line until stop, which interrupts it and gives its
// status and all that it has logged. The lines come through said as well.
func background(t *testing.T, line string) (said <-chan string, stop func() (int, string)) {
	t.Helper()
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	lines := make(chan string, 1000)
	var all strings.Builder
	var wg sync.WaitGroup
	code := -1
	wg.Go(func() {
		code = cli.Run(ctx, strings.Fields(line), cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: write})
		write.Close()
	})
	wg.Go(func() {
		for scan := bufio.NewScanner(read); scan.Scan(); {
			all.WriteString(scan.Text() + "\n")
			select {
			case lines <- scan.Text():
			default: // nobody reads them
			}
		}
		close(lines)
	})
	stop = func() (int, string) {
		cancel()
		wg.Wait()
		return code, all.String()
	}
	t.Cleanup(func() { stop() })
	return lines, stop
}

// await gives the first match of pattern in what is said.
func await(t *testing.T, said <-chan string, pattern string) string {
	t.Helper()
	wanted := regexp.MustCompile(pattern)
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line, open := <-said:
			if found := wanted.FindStringSubmatch(line); found != nil {
				return found[len(found)-1]
			}
			if !open {
				t.Fatalf("it ended without saying %s", pattern)
			}
		case <-timeout:
			t.Fatalf("it does not say %s", pattern)
		}
	}
}

// eventually repeats a command until it prints want.
func eventually(t *testing.T, line, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		code, out, errs := skep(line)
		if code == 0 && out == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: status %d, out %q, err %q; want %q", line, code, out, errs, want)
		}
	}
}

func TestHubCreateJoinList_workTogether(t *testing.T) {
	t.Setenv("SKEP_HUB", "")
	t.Setenv("SKEP_DISCOVERY", "")
	t.Setenv("SWARM_DISCOVERY", "")
	hubSaid, stopHub := background(t, "hub -listen 127.0.0.1:0 -data "+filepath.Join(t.TempDir(), "hub.db"))
	url := await(t, hubSaid, `url=(http://127\.0\.0\.1:\d+)`)

	code, out, errs := skep("create -hub " + url)
	token := strings.TrimSpace(out)
	if code != 0 || !regexp.MustCompile(`^[0-9a-f]{32}\n$`).MatchString(out) || errs != "" {
		t.Fatalf("create: %d %q %q", code, out, errs)
	}
	discovery := "token://" + strings.TrimPrefix(url, "http://") + "/" + token
	eventually(t, "list "+discovery, "")

	join1, stop1 := background(t, "join -advertise 10.0.0.1:2375 "+discovery)
	join2, stop2 := background(t, "join --addr=[::1]:2375 -heartbeat 1s -ttl 600s "+discovery)
	await(t, join1, "Registering on the discovery service every 1m0s")
	await(t, join2, "Registering on the discovery service every 1s")
	eventually(t, "list "+discovery, "10.0.0.1:2375\n[::1]:2375\n")
	t.Setenv("SKEP_HUB", url)
	eventually(t, "l -timeout=20s token://"+token, "10.0.0.1:2375\n[::1]:2375\n")
	eventually(t, "l -discovery-opt token.hub="+url+" token://"+token, "10.0.0.1:2375\n[::1]:2375\n")

	// The end of a join takes its address back at once.
	if code, log := stop1(); code != 0 || !strings.Contains(log, "Deregistered from the discovery service") || strings.Contains(log, token) {
		t.Errorf("join: %d %s", code, log)
	}
	if code, out, _ := skep("list " + discovery); code != 0 || out != "[::1]:2375\n" {
		t.Errorf("after the end of a join: %d %q", code, out)
	}

	if code, _, errs := skep("list token://" + strings.Repeat("0", 32)); code != 1 || !strings.Contains(errs, "404 Not Found: no such token") {
		t.Errorf("an unknown token: %d %q", code, errs)
	}

	// A join outlives its hub, and says so.
	if code, log := stopHub(); code != 0 {
		t.Errorf("hub: %d %s", code, log)
	}
	await(t, join2, "level=ERROR .*Registering failed, it is tried again")
	if code, log := stop2(); code != 0 || !strings.Contains(log, "could not be taken back") {
		t.Errorf("join: %d %s", code, log)
	}
}

func TestList_givesUpOnAHubThatIsSilent(t *testing.T) {
	silent := listenSilently(t)
	start := time.Now()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), []string{"list", "-timeout", "100ms", "token://" + silent + "/abc"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if code != 1 || errs.String() != "skep: Timed out\n" || time.Since(start) > 5*time.Second {
		t.Errorf("status %d after %s, err %q", code, time.Since(start), errs.String())
	}
}

// listenSilently accepts connections and says nothing.
func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
