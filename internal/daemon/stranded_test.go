package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/placement"
)

func TestStranded_aPrimaryTellsItsReplicas(t *testing.T) {
	policy, err := placement.NewPolicy("spread", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := heldLedger{{ID: "c1", SwarmID: "s1", EngineID: "e1", EngineAddress: "192.0.2.1:2375", Lost: true}}
	c, err := cluster.New(cluster.Config{Policy: policy, Ledger: known})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	primary := httptest.NewServer(telling(c, elsewhere))
	defer primary.Close()
	transport := &http.Transport{DisableKeepAlives: true}
	address := strings.TrimPrefix(primary.URL, "http://")
	told, err := strandedAt(t.Context(), transport, address)
	if err != nil || len(told) != 1 || told[0].ID != "c1" || !told[0].Lost {
		t.Errorf("the primary tells %v, %v", told, err)
	}
	for _, other := range []struct{ method, path string }{{"POST", strandedPath}, {"GET", "/containers/json"}} {
		req, err := http.NewRequestWithContext(t.Context(), other.method, primary.URL+other.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusTeapot {
			t.Errorf("%s %s was answered %s", other.method, other.path, resp.Status)
		}
	}
}

func TestStranded_aPrimaryMayHaveALinkLocalAddress(t *testing.T) {
	const advertised = "[fe80::1%eth0]:2375"
	primary := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[{"ID":"c1"}]`) }))
	defer primary.Close()
	dialled := ""
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = address
		return net.Dial("tcp", primary.Listener.Addr().String())
	}}
	if told, err := strandedAt(t.Context(), transport, advertised); err != nil || len(told) != 1 || dialled != advertised {
		t.Errorf("%s was asked, and tells %v, %v", dialled, told, err)
	}
}

func TestStranded_whatIsNoAnswerIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"refused":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such page", http.StatusNotFound) },
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"half good": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[{"ID":"c1"},{"ID":2}]`) },
		"too long":  func(w http.ResponseWriter, _ *http.Request) { endless(w) },
	} {
		t.Run(name, func(t *testing.T) {
			other := httptest.NewServer(answer)
			defer other.Close()
			told, err := strandedAt(context.Background(), &http.Transport{DisableKeepAlives: true}, strings.TrimPrefix(other.URL, "http://"))
			if err == nil || told != nil {
				t.Errorf("it was taken for %v, %v", told, err)
			}
		})
	}
}

// endless writes until nobody reads any more.
func endless(w io.Writer) {
	for spaces := []byte(strings.Repeat(" ", 1<<20)); ; {
		if _, err := w.Write(spaces); err != nil {
			return
		}
	}
}

// heldLedger is one that is only read.
type heldLedger []cluster.Record

func (l heldLedger) Load() ([]cluster.Record, error)            { return l, nil }
func (heldLedger) Apply([]cluster.Record, []string) (err error) { return nil }
