package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// fake is a Docker Engine on a network in memory.
type fake struct {
	net     *memNet
	serving sync.WaitGroup

	mu          sync.Mutex
	info        map[string]any // guarded by mu, as are all below
	version     map[string]any
	low, high   string // API versions it takes
	containers  map[string]*fakeContainer
	images      []string
	events      []string
	listeners   map[chan string]bool
	requests    []string
	silent      bool // takes requests and answers none
	released    chan struct{}
	hooks       map[string]http.HandlerFunc
	gate        func() // called while an inspect is under way
	inspecting  int
	mostInspect int
}

type fakeContainer struct {
	ID, Name, State, Status string
	Memory                  int64 // shows in inspect only
}

func newFake(t testing.TB) *fake {
	f := &fake{
		net: newMemNet(),
		info: map[string]any{
			"ID": "ENGINE-A", "Name": "n1", "NCPU": 4, "MemTotal": 8 << 30, "ServerVersion": "27.0.0", "OSType": "linux",
			"OperatingSystem": "Fake Linux", "Architecture": "x86_64", "KernelVersion": "6.1.0", "Driver": "overlay2",
			"Labels": []string{"rack=a"},
		},
		version: map[string]any{}, low: "1.24", high: "1.44",
		containers: map[string]*fakeContainer{}, listeners: map[chan string]bool{},
		released: make(chan struct{}), hooks: map[string]http.HandlerFunc{},
	}
	server := &http.Server{Handler: f}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(f.net)
	}()
	t.Cleanup(func() {
		close(f.released)
		f.net.Cut(true)
		server.Close()
		<-served
		f.serving.Wait()
	})
	return f
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// on makes h answer requests of "METHOD /path" (without a version).
func (f *fake) on(request string, h http.HandlerFunc) { f.set(func() { f.hooks[request] = h }) }

// fail makes the fake refuse requests.
func (f *fake) fail(request string, status int, message string) {
	f.on(request, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q}`, message)
	})
}

// asked counts the requests that begin so.
func (f *fake) asked(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.serving.Add(1)
	defer f.serving.Done()
	path := r.URL.Path
	version := ""
	if strings.HasPrefix(path, "/v1.") {
		version, path, _ = strings.Cut(path[2:], "/")
		path = "/" + path
	}
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	silent, hook := f.silent, f.hooks[r.Method+" "+path]
	low, high := f.low, f.high
	f.mu.Unlock()
	if silent {
		select {
		case <-r.Context().Done():
		case <-f.released:
		}
		return
	}
	if version != "" {
		v, _ := apiversion.Parse(version)
		oldest, _ := apiversion.Parse(low)
		newest, _ := apiversion.Parse(high)
		if v.Less(oldest) || newest.Less(v) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"message":"client version %s is too old or too new"}`, version)
			return
		}
	}
	if hook != nil {
		hook(w, r)
		return
	}
	f.answer(w, r, path)
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, path string) {
	switch path {
	case "/_ping":
		fmt.Fprint(w, "OK")
	case "/version":
		f.mu.Lock()
		v := maps.Clone(f.version)
		v["ApiVersion"], v["MinAPIVersion"] = f.high, f.low
		f.mu.Unlock()
		writeJSON(w, v)
	case "/info":
		f.mu.Lock()
		info := maps.Clone(f.info)
		f.mu.Unlock()
		if info["SystemTime"] == nil {
			info["SystemTime"] = time.Now().Format(time.RFC3339Nano)
		}
		writeJSON(w, info)
	case "/events":
		f.stream(w, r)
	case "/containers/json":
		f.list(w, r)
	case "/images/json":
		f.mu.Lock()
		images := make([]map[string]any, len(f.images))
		for i, tag := range f.images {
			images[i] = map[string]any{"Id": "sha256:" + tag, "RepoTags": []string{tag}}
		}
		f.mu.Unlock()
		writeJSON(w, images)
	case "/networks":
		writeJSON(w, []map[string]any{{"Id": "net1", "Name": "bridge", "Scope": "local", "Later": 1}})
	case "/volumes":
		writeJSON(w, map[string]any{"Volumes": []map[string]any{{"Name": "v1", "Driver": "local"}}, "Warnings": nil})
	default:
		if id, ok := strings.CutPrefix(path, "/containers/"); ok && strings.HasSuffix(id, "/json") {
			f.inspect(w, strings.TrimSuffix(id, "/json"))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message":"page not found"}`)
	}
}

func writeJSON(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	var filters map[string][]string
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
	f.mu.Lock()
	list := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(f.containers)) {
		c := f.containers[id]
		if ids := filters["id"]; len(ids) == 0 || slices.Contains(ids, id) {
			list = append(list, map[string]any{
				"Id": id, "Names": []string{"/" + c.Name}, "State": c.State, "Status": c.Status, "Created": 1700000000,
				"Unknown": 12345678901234567,
			})
		}
	}
	f.mu.Unlock()
	writeJSON(w, list)
}

func (f *fake) inspect(w http.ResponseWriter, id string) {
	f.mu.Lock()
	c := f.containers[id]
	f.inspecting++
	f.mostInspect = max(f.mostInspect, f.inspecting)
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		gate()
	}
	f.mu.Lock()
	f.inspecting--
	if c != nil {
		copied := *c
		c = &copied
	}
	f.mu.Unlock()
	if c == nil {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"No such container: %s"}`, id)
		return
	}
	writeJSON(w, map[string]any{
		"Id": id, "Name": "/" + c.Name, "State": map[string]any{"Status": c.State, "Running": c.State == "running"},
		"HostConfig": map[string]any{"Memory": c.Memory}, "Config": map[string]any{},
	})
}

// put makes or changes a container, without an event.
func (f *fake) put(c fakeContainer) {
	if c.State == "" {
		c.State = "running"
	}
	f.set(func() { f.containers[c.ID] = &c })
}

func (f *fake) remove(id string) { f.set(func() { delete(f.containers, id) }) }

// emit tells a container event.
func (f *fake) emit(action, id string) {
	now := time.Now()
	f.emitRaw(fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{}},"scope":"local","time":%d,"timeNano":%d}`,
		action, id, now.Unix(), now.UnixNano()))
}

func (f *fake) emitRaw(line string) {
	f.set(func() {
		f.events = append(f.events, line)
		for l := range f.listeners {
			l <- line
		}
	})
}

// happen remembers events without telling those that listen: they happened
// while nobody did.
func (f *fake) happen(line string) { f.set(func() { f.events = append(f.events, line) }) }

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	var since float64
	if s := r.URL.Query().Get("since"); s != "" {
		since, _ = strconv.ParseFloat(s, 64)
	}
	queue := make(chan string, 4096)
	f.mu.Lock()
	for _, line := range f.events {
		var ev struct {
			TimeNano int64 `json:"timeNano"`
		}
		if json.Unmarshal([]byte(line), &ev) != nil || float64(ev.TimeNano)/1e9 >= since {
			queue <- line
		}
	}
	until := r.URL.Query().Has("until")
	if !until {
		f.listeners[queue] = true
	}
	f.mu.Unlock()
	defer f.set(func() { delete(f.listeners, queue) })
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		if until && len(queue) == 0 {
			return
		}
		select {
		case line := <-queue:
			fmt.Fprintln(w, line)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		case <-f.released:
			return
		}
	}
}

// recorder is an observer that remembers.
type recorder struct {
	mu     sync.Mutex
	states []string // "Pending>Healthy"; guarded by mu, as are all below
	errs   []error
	put    []string
	gone   []string
	events []engine.Event
	// changed is told, without waiting, of each call.
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (o *recorder) note(change func()) {
	o.mu.Lock()
	change()
	o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *recorder) EngineState(_ *engine.Engine, from, to engine.State, err error) {
	o.note(func() { o.states, o.errs = append(o.states, from.String()+">"+to.String()), append(o.errs, err) })
}

func (o *recorder) EngineContainers(_ *engine.Engine, put, gone []*engine.Container) {
	o.note(func() {
		for _, c := range put {
			o.put = append(o.put, c.ID)
		}
		for _, c := range gone {
			o.gone = append(o.gone, c.ID)
		}
	})
}

func (o *recorder) EngineObjects(*engine.Engine) { o.note(func() {}) }

func (o *recorder) EngineEvent(_ *engine.Engine, ev engine.Event) {
	o.note(func() { o.events = append(o.events, ev) })
}

// States gives the moves so far, "Pending>Healthy Healthy>Unhealthy".
func (o *recorder) States() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.states, " ")
}

// Actions gives the events so far as "start:c1".
func (o *recorder) Actions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := []string{}
	for _, ev := range o.events {
		out = append(out, ev.Action+":"+ev.Actor.ID)
	}
	return out
}

// until waits until done says true; what it looks at must come through the
// observer.
func (o *recorder) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	give := time.NewTimer(20 * time.Second)
	defer give.Stop()
	for !done() {
		select {
		case <-o.changed:
		case <-give.C:
			t.Fatalf("it does not come about that %s; states: %s", what, o.States())
		}
	}
}

// start runs an engine on the fake until the end of the test.
func start(t testing.TB, f *fake, change ...func(*engine.Config)) (*engine.Engine, *recorder) {
	t.Helper()
	e, o, stop := startStoppable(t, f, change...)
	t.Cleanup(stop)
	return e, o
}

// startStoppable is start with a stop that waits for the end of Run.
func startStoppable(t testing.TB, f *fake, change ...func(*engine.Config)) (*engine.Engine, *recorder, func()) {
	t.Helper()
	o := newRecorder()
	cfg := engine.Config{Address: "10.0.0.1:2375", Observer: o, Dial: f.net.Dial}
	for _, c := range change {
		c(&cfg)
	}
	e, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	return e, o, func() {
		cancel()
		<-done
	}
}

// memoryOf is what inspect said of a container that the engine's inventory has.
func memoryOf(e *engine.Engine, id string) int64 {
	c := e.Container(id)
	if c == nil {
		return -1
	}
	return c.Host.Memory
}
