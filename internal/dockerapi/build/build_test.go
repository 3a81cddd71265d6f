package build_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/skep/skep/internal/enginetest"
)

func builtOn(engines []*enginetest.Engine) (names []string) {
	for _, e := range engines {
		for range e.Requests("POST /build?") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestBuild_isPlacedAndKnowsNothingOfIt(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	var context, sent string
	engines[1].Handle("POST", "/build", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		context, sent = string(body), r.URL.Query().Get("buildargs")
		if r.Header.Get("X-Registry-Config") != "logins" || r.Header.Get("Content-Type") != "application/x-tar" {
			t.Errorf("headers %v", r.Header)
		}
		engines[1].AddImage(enginetest.Image{Tags: []string{"app:1"}})
		fmt.Fprintln(w, `{"stream":"Step 1/1"}`)
	})
	d := open(t, engines...)
	r, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+`/v1.41/build?t=app:1&version=1&buildargs={"constraint:node":"=n2","whitelist:node":"=n2|n3","HTTP_PROXY":null,"A":"b"}`, strings.NewReader("files"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-tar")
	r.Header.Set("X-Registry-Config", "logins")
	resp, err := d.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || string(body) != `{"stream":"Step 1/1"}`+"\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if context != "files" || sent != `{"A":"b","HTTP_PROXY":null}` {
		t.Errorf("the engine got %q and the arguments %s", context, sent)
	}
	if _, list := d.Call("GET", "/images/json", nil); !strings.Contains(list, "app:1") {
		t.Errorf("the image is not known at once: %s", list)
	}
}

func TestBuild_placement(t *testing.T) {
	start := func(t *testing.T) []*enginetest.Engine {
		engines := enginetest.StartMany(t, 3)
		engines[0].AddContainer(enginetest.Container{HostConfig: map[string]any{"Memory": 6 << 30}})
		engines[1].AddImage(enginetest.Image{Tags: []string{"base:1"}})
		engines[2].AddContainer(enginetest.Container{Running: true, HostConfig: map[string]any{"Memory": 1 << 30}})
		engines[2].AddNetwork(enginetest.Network{Name: "local"})
		return engines
	}
	for name, c := range map[string]struct{ query, node string }{
		"by resources":                          {"memory=7000000000&cpuquota=300000", "n2"},
		"by a constraint":                       {`buildargs={"constraint:node":"=n1"}`, "n1"},
		"by the absence of one":                 {`buildargs={"constraint:node!":"/n[12]/"}`, "n3"},
		"by an affinity for an image":           {`memory=1&buildargs={"affinity:image":"=base:1"}`, "n2"},
		"where an image of the same name is":    {"memory=1&t=base:1", "n2"},
		"where the cache is said to be":         {`memory=1&cachefrom=["nosuch","base:1"]`, "n2"},
		"by a wish before that":                 {`memory=1&t=base:1&buildargs={"constraint:node":"=~n3"}`, "n3"},
		"on the network that its steps use":     {"networkmode=local", "n3"},
		"on that network, named with its node":  {"networkmode=n3/local", "n3"},
		"a swarm label is no wish of the build": {`memory=7000000000&labels={"com.docker.swarm.constraints":"[\"node==n1\"]"}`, "n2"},
	} {
		t.Run(name, func(t *testing.T) {
			engines := start(t)
			d := open(t, engines...)
			if status, body := d.Call("POST", "/build?"+c.query, strings.NewReader("files")); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			wantNames(t, "built on", builtOn(engines), c.node)
			if got := engines[2].Requests("POST /build?networkmode="); len(got) > 0 && got[0] != "POST /build?networkmode=local" {
				t.Errorf("the engine is asked for %s", got)
			}
		})
	}
}

func TestBuild_thatCannotBe(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	d := open(t, engines...)
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"version=7":                             {400, `invalid version \"7\" of the builder`},
		`buildargs={"constraint:node":"=n9"}`:   {503, "node is not n9"},
		`buildargs={"constraint:node":"x"}`:     {400, "constraint: "},
		`buildargs={"constraint:node":1}`:       {400, "error reading build arg constraint:node"},
		`buildargs=[`:                           {400, "error reading build args"},
		"memory=999999999999999":                {503, "Unable to find a node"},
		"networkmode=container:nosuch":          {503, "--net=container:nosuch"},
		`buildargs={"whitelist:node":"=other"}`: {503, "Unable to find a node"},
	} {
		status, body := d.Call("POST", "/build?"+query, strings.NewReader("files"))
		if status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	wantNames(t, "built on", builtOn(engines))
	d.Want("POST", "/build/cancel", nil, http.StatusBadRequest, `{"message":"build ID not provided"}`)
	d.Want("POST", "/build/cancel?id=x", nil, http.StatusOK, "")
	wantNames(t, "cancelled on n2", engines[1].Requests("POST /build/cancel"), "POST /build/cancel?id=x")
}

// Two builds at once must not be given the same memory, and a build that has
// ended must give it back.
func TestBuild_holdsItsPlaceWhileItLasts(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	began, end := make(chan struct{}, 2), make(chan struct{})
	for _, e := range engines {
		e.Handle("POST", "/build", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{}\n")
			_ = http.NewResponseController(w).Flush()
			began <- struct{}{}
			<-end
		})
	}
	d := open(t, engines...)
	const query = "/build?memory=6000000000"
	done := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			if status, body := d.Call("POST", query, nil); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
		}()
	}
	<-began
	<-began
	wantNames(t, "built on", builtOn(engines), "n1", "n2")
	if status, body := d.Call("POST", query, nil); status == http.StatusOK {
		t.Errorf("a third one found room: %s", body)
	}
	close(end)
	<-done
	<-done
	if status, body := d.Call("POST", query, nil); status != http.StatusOK {
		t.Errorf("when all have ended: %d %s", status, body)
	}
}

// The context may be larger than any buffer, and the engine may talk while it
// reads it.
func TestBuild_contextAndOutputPassAtTheSameTime(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	engine.Handle("POST", "/build", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, n, err)
	})
	d := open(t, engine)
	context, upload := io.Pipe()
	go func() {
		_, _ = upload.Write([]byte("first"))
	}()
	resp := d.Do(t.Context(), "POST", "/build", context)
	defer resp.Body.Close()
	first := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "begun\n" {
		t.Fatalf("%q, %v", first, err)
	}
	go func() {
		_, _ = upload.Write(make([]byte, 4<<20))
		upload.Close()
	}()
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != fmt.Sprintln(5+4<<20, nil) {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestPrune_emptiesTheCachesOfAllEngines(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	d := open(t, engines...)
	d.Want("POST", "/build/prune", nil, http.StatusOK, `{"CachesDeleted":["cache-n1","cache-n2"],"SpaceReclaimed":20}`)
}

func TestBuild_endsWithItsClient(t *testing.T) {
	for name, query := range map[string]string{"with the classic builder": "", "with BuildKit": "version=2&buildid=b"} {
		t.Run(name, func(t *testing.T) {
			engine := enginetest.Start(t, enginetest.Config{})
			began, ended := make(chan struct{}), make(chan struct{})
			engine.Handle("POST", "/build", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "{}\n")
				_ = http.NewResponseController(w).Flush()
				close(began)
				<-r.Context().Done()
				close(ended)
			})
			d := open(t, engine)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp := d.Do(ctx, "POST", "/build?memory=6000000000&"+query, nil)
			defer resp.Body.Close()
			<-began
			cancel()
			<-ended
			// Its place is free again.
			engine.Handle("POST", "/build", func(http.ResponseWriter, *http.Request) {})
			enginetest.Eventually(t, "another build finds room", func() bool {
				status, _ := d.Call("POST", "/build?memory=6000000000", nil)
				return status == http.StatusOK
			})
		})
	}
}
