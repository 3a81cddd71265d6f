package cluster_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// shop is two engines with containers of all kinds. By age, the newest first:
// job, web, old, cache, made.
func shop(t *testing.T) *cluster.Cluster {
	t.Helper()
	engines := enginetest.StartMany(t, 2)
	for i, e := range engines {
		e.AddImage(enginetest.Image{ID: "sha256:" + id64("ba5e"), Tags: []string{"base:1"}})
		e.AddImage(enginetest.Image{ID: "sha256:" + id64("1a7e"), ParentID: "sha256:" + id64("ba5e")})
		code := enginetest.Image{ID: "sha256:" + id64("c0de"), Tags: []string{"code:latest", "reg.example/code:2"}}
		if i == 1 { // where it was built; who has pulled an image does not know its parent
			code.ParentID = "sha256:" + id64("1a7e")
		}
		e.AddImage(code)
	}
	engines[1].AddImage(enginetest.Image{ID: "sha256:" + id64("0dd"), ParentID: "sha256:" + id64("0dd"), Tags: []string{"odd:1"}})
	container := func(id, name string, created int, image, state, list, inspect string) rawContainer {
		return rawContainer{
			fmt.Sprintf(`{"Id":%q,"Names":["/%s"],"Created":%d,"ImageID":"sha256:%s","State":%q%s}`, id64(id), name, created, id64(image), state, list),
			fmt.Sprintf(`{"Name":"/%s",%s}`, name, inspect),
		}
	}
	serveRaw(engines[0],
		container("aaa1", "web", 1700000040, "c0de", "running",
			`,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}],
			"NetworkSettings":{"Networks":{"front":{"NetworkID":"f00d"}}},"Mounts":[{"Type":"volume","Name":"data","Source":"/v","Destination":"/srv"}]`,
			`"State":{"Status":"running","Running":true,"StartedAt":"2023-11-14T00:00:00Z","Health":{"Status":"healthy"}},
			"Config":{"Labels":{"env":"prod","tier":"web"},"ExposedPorts":{"80/tcp":{},"443/tcp":{},"53/udp":{}}},"HostConfig":{"Isolation":"default"}`),
		container("aaa2", "old", 1700000030, "ba5e", "exited", "",
			`"State":{"Status":"exited","ExitCode":3,"StartedAt":"2023-11-14T00:00:00Z","FinishedAt":"2023-11-14T01:00:00Z"},"Config":{"Labels":{"env":"test"}}`),
		container("aaa3", "made", 1700000010, "ba5e", "created", "", `"State":{"Status":"created"},"Config":{"Labels":{"env":"prod"}}`),
	)
	serveRaw(engines[1],
		container("bbb1", "cache", 1700000020, "0dd", "paused",
			`,"Ports":[{"IP":"::","PrivatePort":53,"PublicPort":5353,"Type":"udp"}],"Mounts":[{"Type":"bind","Source":"/host/dir","Destination":"/cache"}],
			"NetworkSettings":{"Networks":{"back":{"NetworkID":"beef"}}}`,
			`"State":{"Status":"paused","Running":true,"Paused":true,"StartedAt":"2023-11-14T00:00:00Z","Health":{"Status":"starting"}},"Config":{"Labels":{"env":"prod","com.docker.swarm.task":""}}`),
		container("bbb2", "job", 1700000050, "c0de", "restarting", "",
			`"State":{"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1,"StartedAt":"2023-11-14T00:00:00Z","FinishedAt":"2023-11-14T01:00:00Z","Health":{"Status":"unhealthy"}},"Config":{}`),
	)
	return enginetest.Cluster(t, cluster.Config{}, engines...)
}

func listed(t *testing.T, c *cluster.Cluster, o cluster.ListOptions) string {
	t.Helper()
	body, err := listJSON(c, o)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range decodeAs[[]struct{ Names []string }](t, body) {
		names = append(names, entry.Names[0][strings.LastIndex(entry.Names[0], "/")+1:])
	}
	return strings.Join(names, " ")
}

func TestList_filters(t *testing.T) {
	c := shop(t)
	for _, tc := range []struct {
		name    string
		o       cluster.ListOptions
		filters []string
		want    string
	}{
		{name: "what runs", want: "job web cache"},
		{name: "all", o: cluster.ListOptions{All: true}, want: "job web old cache made"},
		{name: "the last two, running or not", o: cluster.ListOptions{Limit: 2}, want: "job web"},
		{name: "the last three, running or not", o: cluster.ListOptions{Limit: 3}, want: "job web old"},
		{name: "no limit is none", o: cluster.ListOptions{Limit: -1}, want: "job web cache"},
		{name: "before", o: cluster.ListOptions{Before: "web"}, want: "old cache made"},
		{name: "before, limited", o: cluster.ListOptions{Before: "web", Limit: 1}, want: "old"},
		{name: "since", o: cluster.ListOptions{Since: "old"}, want: "job web"},
		{name: "before and since", o: cluster.ListOptions{Before: "web", Since: "made"}, want: "old cache"},
		{name: "before the oldest", o: cluster.ListOptions{Before: "made"}, want: ""},
		{name: "since the newest", o: cluster.ListOptions{Since: "job"}, want: ""},
		{name: "before as a filter shows what runs", filters: []string{"before=web"}, want: "cache"},
		{name: "since as a filter", filters: []string{"since=n1/old"}, want: "job web"},
		{name: "a status implies all", filters: []string{"status=exited"}, want: "old"},
		{name: "two statuses", filters: []string{"status=created", "status=running"}, want: "web made"},
		{name: "paused", filters: []string{"status=paused"}, want: "cache"},
		{name: "restarting", filters: []string{"status=restarting"}, want: "job"},
		{name: "an exit code of those that run is none", filters: []string{"exited=1"}, o: cluster.ListOptions{All: true}, want: ""},
		{name: "an exit code", filters: []string{"exited=3"}, o: cluster.ListOptions{All: true}, want: "old"},
		{name: "what never ran has no exit code", filters: []string{"exited=0"}, o: cluster.ListOptions{All: true}, want: ""},
		{name: "healthy", filters: []string{"health=healthy"}, want: "web"},
		{name: "two healths", filters: []string{"health=starting", "health=unhealthy"}, want: "job cache"},
		{name: "no health", filters: []string{"health=none"}, o: cluster.ListOptions{All: true}, want: "old made"},
		{name: "a part of the name", filters: []string{"name=o"}, o: cluster.ListOptions{All: true}, want: "job old"},
		{name: "a name by expression", filters: []string{"name=^(web|old)$"}, o: cluster.ListOptions{All: true}, want: "web old"},
		{name: "a name with its slash", filters: []string{"name=^/web$"}, want: "web"},
		{name: "a name with its node", filters: []string{"name=^n1/web$"}, want: "web"},
		{name: "a name of nobody", filters: []string{"name=nobody"}, o: cluster.ListOptions{All: true}, want: ""},
		{name: "an ID", filters: []string{"id=" + id64("bbb2")}, want: "job"},
		{name: "the beginning of IDs", filters: []string{"id=aaa"}, o: cluster.ListOptions{All: true}, want: "web old made"},
		{name: "a label", filters: []string{"label=tier"}, want: "web"},
		{name: "a label's value", filters: []string{"label=env=prod"}, o: cluster.ListOptions{All: true}, want: "web cache made"},
		{name: "two labels, both", filters: []string{"label=env=prod", "label=tier=web"}, o: cluster.ListOptions{All: true}, want: "web"},
		{name: "a node", filters: []string{"node=n2"}, want: "job cache"},
		{name: "a node by ID", filters: []string{"node=ID-n1"}, want: "web"},
		{name: "two nodes", filters: []string{"node=n1", "node=n2"}, want: "job web cache"},
		{name: "a node that is none", filters: []string{"node=n7"}, want: ""},
		{name: "tasks", filters: []string{"is-task=true"}, want: "cache"},
		{name: "no tasks", filters: []string{"is-task=0"}, want: "job web"},
		{name: "an ancestor", filters: []string{"ancestor=base:1"}, o: cluster.ListOptions{All: true}, want: "job web old made"},
		{name: "its own image", filters: []string{"ancestor=code"}, want: "job web"},
		{name: "an image by another of its names", filters: []string{"ancestor=reg.example/code:2"}, want: "job web"},
		{name: "an image by the beginning of its ID", filters: []string{"ancestor=0dd000"}, want: "cache"},
		{name: "two ancestors, either", filters: []string{"ancestor=odd:1", "ancestor=code"}, want: "job web cache"},
		{name: "an image that is none", filters: []string{"ancestor=none"}, o: cluster.ListOptions{All: true}, want: ""},
		{name: "a published port", filters: []string{"publish=8080"}, want: "web"},
		{name: "a range of published ports", filters: []string{"publish=8000-8100/tcp"}, want: "web"},
		{name: "a published port of the other protocol", filters: []string{"publish=5353"}, want: ""},
		{name: "a published port of UDP", filters: []string{"publish=5353/udp"}, want: "cache"},
		{name: "a port that is exposed is not published", filters: []string{"publish=443"}, want: ""},
		{name: "an exposed port", filters: []string{"expose=443"}, want: "web"},
		{name: "a range of exposed ports", filters: []string{"expose=50-60/udp"}, want: "web"},
		{name: "a network", filters: []string{"network=front"}, want: "web"},
		{name: "a network by the beginning of its ID", filters: []string{"network=be"}, want: "cache"},
		{name: "a network with its node", filters: []string{"network=n2/back"}, want: "cache"},
		{name: "a network with another node", filters: []string{"network=n1/back"}, want: ""},
		{name: "a volume", filters: []string{"volume=data"}, want: "web"},
		{name: "a volume by where it is", filters: []string{"volume=/srv"}, want: "web"},
		{name: "a path of the host", filters: []string{"volume=/host/dir"}, want: "cache"},
		{name: "a volume's own path is none of the host", filters: []string{"volume=/v"}, want: ""},
		{name: "isolation", filters: []string{"isolation=default"}, want: "web"},
		{name: "many at once", filters: []string{"node=n1", "label=env=prod", "status=created", "ancestor=base:1"}, want: "made"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Filters = apifilter.New(tc.filters...)
			if diff := cmp.Diff(tc.want, listed(t, c, tc.o)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestList_refuses(t *testing.T) {
	c := shop(t)
	for _, tc := range []struct {
		name, filter string
		o            cluster.ListOptions
		want         string
		is           func(error) bool
	}{
		{"a filter that is none", "color=red", cluster.ListOptions{}, "invalid filter 'color'", errdefs.IsInvalidArgument},
		{"a status that is none", "status=up", cluster.ListOptions{}, "invalid filter 'status=up': use one of paused", errdefs.IsInvalidArgument},
		{"a health that is none", "health=fine", cluster.ListOptions{}, "invalid filter 'health=fine'", errdefs.IsInvalidArgument},
		{"an exit code that is none", "exited=x", cluster.ListOptions{}, "invalid filter 'exited=x': give an exit code", errdefs.IsInvalidArgument},
		{"a truth that is none", "is-task=perhaps", cluster.ListOptions{}, "invalid filter 'is-task", errdefs.IsInvalidArgument},
		{"a port that is none", "publish=http", cluster.ListOptions{}, "invalid filter 'publish=http': write PORT[-PORT][/PROTOCOL]", errdefs.IsInvalidArgument},
		{"a range that goes down", "expose=90-80", cluster.ListOptions{}, "invalid filter 'expose=90-80'", errdefs.IsInvalidArgument},
		{"before nobody", "", cluster.ListOptions{Before: "nobody"}, "No such container: nobody", errdefs.IsNotFound},
		{"since nobody", "since=nobody", cluster.ListOptions{}, "No such container: nobody", errdefs.IsNotFound},
		{"before many", "before=aaa", cluster.ListOptions{}, "container aaa is ambiguous", errdefs.IsInvalidArgument},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.filter != "" {
				tc.o.Filters = apifilter.New(tc.filter)
			}
			_, err := listJSON(c, tc.o)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || !tc.is(err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestList_ofNothing(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{})
	if body, err := listJSON(c, cluster.ListOptions{All: true}); err != nil || string(body) != "[]\n" {
		t.Errorf("%s, %v", body, err)
	}
}

func TestList_anEntryIsTheEnginesButForWhatTheClusterKnowsBetter(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.1.2.3"})
	serveRaw(e, rawContainer{
		`{"Id":"c1","Names":["/other/alias","/web"],"Image":"a<b>","Created":1700000000,"State":"running","Status":"Up 5 years",` +
			`"Labels":{"listed":"1"},"Later":{"x":12345678901234567890,"y":1.50},"SizeRw":18446744073709551615,` +
			`"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},` +
			`{"PrivatePort":443,"Type":"tcp"},{"IP":"127.0.0.1","PrivatePort":81,"PublicPort":8081,"Type":"tcp","New":true}]}`,
		`{"Name":"/web","State":{"Status":"running","Running":true,"StartedAt":"` + time.Now().Add(-3*time.Minute-time.Second).Format(time.RFC3339Nano) + `"},` +
			`"Config":{"Labels":{"inspected":"<2>"}}}`,
	})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	body, err := listJSON(c, cluster.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Id":"c1","Image":"a<b>","Created":1700000000,"State":"running",` +
		`"Labels":{"inspected":"<2>"},"Later":{"x":12345678901234567890,"y":1.50},"SizeRw":18446744073709551615,` +
		`"Names":["/n1/web","/n1/other/alias"],` +
		`"Ports":[{"IP":"10.1.2.3","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},` +
		`{"PrivatePort":443,"Type":"tcp"},{"IP":"127.0.0.1","PrivatePort":81,"PublicPort":8081,"Type":"tcp","New":true}],` +
		`"Status":"Up 3 minutes"}]` + "\n"
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
}

// An engine behind a unix socket has no address to publish at.
func TestList_portsOfAnEngineWithoutAnAddress(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{})
	ports := `[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]`
	serveRaw(e, rawContainer{`{"Id":"c1","Ports":` + ports + `}`, `{"Name":"/web","State":{"Running":true}}`})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	if body, err := listJSON(c, cluster.ListOptions{}); err != nil || !strings.Contains(string(body), `"Ports":`+ports) {
		t.Errorf("%s, %v", body, err)
	}
}

func TestList_sizesComeFromTheEngines(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for i, e := range engines {
		c := fmt.Sprintf(`{"Id":"c%d","State":"running"`, i)
		serveRaw(e, rawContainer{c + "}", fmt.Sprintf(`{"Name":"/web%d","State":{"Running":true}}`, i)})
	}
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	engines[0].Handle("GET", "/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"Id":"c0","SizeRw":9007199254740993,"SizeRootFs":7}]`)
	})
	engines[1].Handle("GET", "/containers/json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[{"Id":"c1","SizeRootFs":7}]`) })
	engines[2].Fail("GET", "/containers/json", 500, "broken")
	body, err := listJSON(c, cluster.ListOptions{Size: true, Filters: apifilter.New("name=web")})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]string{}
	for _, entry := range strings.SplitAfter(string(body), "}") {
		for i := range 3 {
			if strings.Contains(entry, fmt.Sprintf(`"Id":"c%d"`, i)) {
				_, sizes[fmt.Sprint("c", i)], _ = strings.Cut(entry, `"SizeR`)
			}
		}
	}
	want := map[string]string{"c0": `w":9007199254740993,"SizeRootFs":7}`, "c1": `ootFs":7}`, "c2": ""}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("%s in %s", diff, body)
	}
	query := url.Values{"all": {"1"}, "size": {"1"}, "filters": {`{"id":{"c0":true}}`}}
	if n := len(engines[0].Requests("GET /containers/json?" + query.Encode())); n != 1 {
		t.Errorf("asked %d times for the sizes of what is shown", n)
	}
}

func TestInspect_addsTheNodeAndKeepsAllElse(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.1.2.3", Labels: []string{"rack=a"}, CPUs: 8, Memory: 1 << 30})
	e.AddContainer(enginetest.Container{ID: id64("c1"), Name: "web", Running: true})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	e.Handle("GET", "/containers/{id}/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Id": "c1","Name":"/web","HostConfig":{"Memory":9007199254740993,"New":[1.0]},"NetworkSettings":{"Ports":`+
			`{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],`+
			`"81/tcp":[{"HostIp":"","HostPort":"8081"},{"HostPort":"8082"},{"HostIp":"127.0.0.1","HostPort":"8083"}],"82/tcp":[]},"Later":1e400}}`)
	})
	body, err := c.Inspect(t.Context(), "n1/web", map[string][]string{"size": {"1"}}, cluster.CreateOptions{}.Version)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Id":"c1","Name":"/web","HostConfig":{"Memory":9007199254740993,"New":[1.0]},"NetworkSettings":{"Ports":` +
		`{"443/tcp":null,"80/tcp":[{"HostIp":"10.1.2.3","HostPort":"8080"}],` +
		`"81/tcp":[{"HostIp":"10.1.2.3","HostPort":"8081"},{"HostPort":"8082","HostIp":"10.1.2.3"},{"HostIp":"127.0.0.1","HostPort":"8083"}],"82/tcp":[]},"Later":1e400},` +
		`"Node":{"ID":"ID-n1","IP":"10.1.2.3","Addr":"10.1.2.3:2375","Name":"n1","Cpus":8,"Memory":1073741824,` +
		`"Labels":{"kernelversion":"6.0.0","operatingsystem":"Fake Linux","ostype":"linux","rack":"a","storagedriver":"overlay2"}}}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
	if n := len(e.Requests("GET /containers/" + id64("c1") + "/json?size=1")); n != 1 {
		t.Errorf("asked %d times with its query", n)
	}
	e.Fail("GET", "/containers/{id}/json", 418, "tea")
	if _, err := c.Inspect(t.Context(), "web", nil, cluster.CreateOptions{}.Version); errText(err) != "tea" {
		t.Errorf("error %v", err)
	}
	if _, err := c.Inspect(t.Context(), "nobody", nil, cluster.CreateOptions{}.Version); !errdefs.IsNotFound(err) {
		t.Errorf("error %v", err)
	}
}

// largestWrite notes the longest piece that is written.
type largestWrite struct{ most, all int }

func (w *largestWrite) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	w.all += len(p)
	return len(p), nil
}

// A client that reads a long list slowly must not make the manager hold it.
func TestList_isWrittenAsItIsMade(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	var many []rawContainer
	for i := range 100 {
		id := id64(fmt.Sprintf("%04x", i))
		many = append(many, rawContainer{
			fmt.Sprintf(`{"Id":%q,"Later":%q}`, id, strings.Repeat("x", 4000)), fmt.Sprintf(`{"Name":"/web-%d","State":{"Running":true}}`, i),
		})
	}
	serveRaw(e, many...)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	list, err := c.List(t.Context(), cluster.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var w largestWrite
	if err := list.Write(&w); err != nil || w.all < 400_000 || w.most > 64<<10 {
		t.Errorf("%d bytes in pieces of up to %d, %v", w.all, w.most, err)
	}
	allocs := testing.AllocsPerRun(10, func() { _ = list.Write(&w) })
	if allocs > 6*100 {
		t.Errorf("%.0f allocations for 100 containers", allocs)
	}
}
