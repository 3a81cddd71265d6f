package engine

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/skep/skep/internal/rawjson"
)

// aContainer is the i-th container of many that are much alike, as engines list
// and inspect it.
func aContainer(i int) (entry, inspect string) {
	id := fmt.Sprintf("%064x", i)
	network := strings.Repeat("b", 64)
	entry = fmt.Sprintf(`{"Id":%q,"Names":["/web-%d"],"Image":"registry.example.com/team/web:1.2","ImageID":"sha256:%s","Command":"/web --listen :80",`+
		`"Created":1700000000,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":%d,"Type":"tcp"}],"Labels":{"app":"web","tier":"front"},"State":"running",`+
		`"Status":"Up 3 hours","HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{"IPAMConfig":null,"Links":null,"Aliases":null,`+
		`"NetworkID":%q,"EndpointID":%q,"Gateway":"172.17.0.1","IPAddress":"172.17.0.2","IPPrefixLen":16,"MacAddress":"02:42:ac:11:00:02"}}},"Mounts":[]}`,
		id, i, strings.Repeat("c", 64), 1024+i, network, id)
	inspect = fmt.Sprintf(`{"Id":%q,"Name":"/web-%d","Created":"2023-11-14T22:13:20.5Z","State":{"Status":"running","Running":true,"StartedAt":"2023-11-14T22:13:21Z"},`+
		`"HostConfig":{"NetworkMode":"bridge","IpcMode":"private","PortBindings":{}},"Config":{"Image":"registry.example.com/team/web:1.2","Labels":{"app":"web","tier":"front"},`+
		`"ExposedPorts":{"80/tcp":{}},"Env":[%q]}}`, id, i, strings.Repeat("x", 4000))
	return entry, inspect
}

// keep reads n containers like an engine's, and gives those that are kept of
// them.
func keep(t *testing.T, e *Engine, n int) []*Container {
	kept := make([]*Container, n)
	for i := range kept {
		entry, inspect := aContainer(i)
		list, err := e.readList([]byte("[" + entry + "]"))
		if err != nil {
			t.Fatal(err)
		}
		var inspected inspectedContainer
		if err := json.Unmarshal([]byte(inspect), &inspected); err != nil {
			t.Fatal(err)
		}
		if kept[i], err = newContainer(list[0], &inspected, &e.cfg.Shared.words); err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

func newSilent(t *testing.T) *Engine {
	e, err := New(Config{Address: "a:1", Observer: &silentObserver{}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A manager holds the containers of a thousand engines.
func TestContainer_isKeptInLittleMemory(t *testing.T) {
	const n, most = 2000, 2500
	e := newSilent(t)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	kept := keep(t, e, n)
	each := int64(heap()-before) / n
	runtime.KeepAlive(kept)
	t.Logf("%d bytes each", each)
	if each > most {
		t.Errorf("a container takes %d bytes, more than %d", each, most)
	}
}

func TestContainer_keepsWhatItsEntrySaysButForWhatStandsElsewhere(t *testing.T) {
	c := keep(t, newSilent(t), 1)[0]
	o, err := rawjson.ParseObject(c.Raw)
	if err != nil {
		t.Fatal(err)
	}
	want := "Id Image ImageID Command Created Labels State HostConfig NetworkSettings Mounts"
	if got := strings.Join(o.Keys(), " "); got != want {
		t.Errorf("%s is kept, not %s", got, want)
	}
	if string(c.RawPorts) != `[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":1024,"Type":"tcp"}]` || c.Name() != "web-0" ||
		!c.OnNetwork("bridge") || c.OnNetwork("back") || !c.Networks[0].Connected {
		t.Errorf("%s, %+v", c.RawPorts, c)
	}
}

func TestEntrySum_isOfWhatDoesNotChangeByTheClock(t *testing.T) {
	e := newSilent(t)
	sum := func(entry string) uint64 {
		list, err := e.readList([]byte("[" + entry + "]"))
		if err != nil {
			t.Fatal(err)
		}
		return list[0].sum
	}
	entry, _ := aContainer(1)
	for status, same := range map[string]bool{"Up 5 days": true, "Up 3 hours (unhealthy)": false, "Exited (0) 3 hours ago": false} {
		if got := sum(strings.Replace(entry, "Up 3 hours", status, 1)) == sum(entry); got != same {
			t.Errorf("%q makes the entry the same: %t", status, got)
		}
	}
	if sum(strings.Replace(entry, "172.17.0.2", "172.17.0.3", 1)) == sum(entry) {
		t.Error("another address makes the entry the same")
	}
}

// What nobody knows how to read is kept as far as it is known.
func TestReadList_anEntryWithAKeyTwiceHidesNoOther(t *testing.T) {
	e := newSilent(t)
	list, err := e.readList([]byte(`[{"Id":"c1","Image":"x","image":"y"},{"Id":"c2"}]`))
	if err != nil || len(list) != 2 || list[0].id != "c1" || list[1].id != "c2" {
		t.Fatal(list, err)
	}
	c, err := newContainer(list[0], nil, &e.cfg.Shared.words)
	if err != nil || !strings.Contains(string(c.Raw), `"Id":"c1"`) {
		t.Errorf("%s, %v", c.Raw, err)
	}
	for _, body := range []string{`{}`, `[1]`, `[{"Id":1}]`, `[{"Id":"c1","Status":1}]`, `[`} {
		if list, err := e.readList([]byte(body)); err == nil {
			t.Errorf("%s is read as %v", body, list)
		}
	}
}

func FuzzReadList(f *testing.F) {
	entry, _ := aContainer(1)
	for _, s := range []string{"[" + entry + "]", `[{"Id":"a","id":"b"}]`, `[{"Id":"a","Status":"Up ("}]`, `null`, `[null]`, `[{"Id":"a","Ports":{}}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := newSilent(t)
		list, err := e.readList(body)
		if err != nil {
			return
		}
		for _, l := range list {
			c, err := newContainer(l, nil, &e.cfg.Shared.words)
			if err == nil && (!json.Valid(c.Raw) || c.RawPorts != nil && !json.Valid(c.RawPorts)) {
				t.Fatalf("%s is kept as %s and %s", l.raw, c.Raw, c.RawPorts)
			}
		}
	})
}
