package cluster

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// listed is an engine's list of images.
func listed(t testing.TB, entries ...string) engine.ImageSet {
	t.Helper()
	body := []byte{'['}
	for i, e := range entries {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e...)
	}
	set, err := decodeImages(append(body, ']'))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestMergedImage_entry(t *testing.T) {
	old, young := apiversion.Version{Major: 1, Minor: 41}, apiversion.Version{Major: 1, Minor: 51}
	for name, c := range map[string]struct {
		first, second string
		version       apiversion.Version
		want          string
	}{
		"is the engine's own where all say the same": {
			`{"Id":"sha256:1","RepoTags":["a:1"],"RepoDigests":null,"Created":5,"VirtualSize":7,"New":1.50}`,
			`{"Id":"sha256:1","RepoTags":["a:1"],"RepoDigests":null,"Created":5,"VirtualSize":7,"New":1.50}`, old,
			`{"Id":"sha256:1","RepoTags":["a:1"],"RepoDigests":null,"Created":5,"VirtualSize":7,"New":1.50}`,
		},
		"has the names of all engines": {
			`{"Id":"sha256:1","RepoTags":["a:1"],"New":1.50,"VirtualSize":7}`, `{"Id":"sha256:1","RepoTags":["b:1","a:1"],"RepoDigests":["a@sha256:2"],"VirtualSize":7}`, young,
			`{"Id":"sha256:1","RepoTags":["a:1","b:1"],"New":1.50,"VirtualSize":7,"RepoDigests":["a@sha256:2"]}`,
		},
		"is no <none> where another engine has a name": {
			`{"Id":"sha256:1","RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"],"VirtualSize":7}`, `{"Id":"sha256:1","RepoTags":["b:1"],"VirtualSize":7}`, old,
			`{"Id":"sha256:1","RepoTags":["b:1"],"RepoDigests":[],"VirtualSize":7}`,
		},
		"says <none> to clients of old": {
			`{"Id":"sha256:1","RepoTags":[],"RepoDigests":[],"Size":9}`, `{"Id":"sha256:1"}`, old,
			`{"Id":"sha256:1","RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"],"Size":9,"VirtualSize":9}`,
		},
		"has no <none> for clients of today": {
			`{"Id":"sha256:1","RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"],"Size":9}`, `{"Id":"sha256:1"}`, young,
			`{"Id":"sha256:1","RepoTags":[],"RepoDigests":[],"Size":9}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			merged := mergeImages([]engine.ImageSet{listed(t, c.first), listed(t, c.second)})
			if len(merged) != 1 {
				t.Fatalf("%d images", len(merged))
			}
			if got := merged[0].entry(merged[0].tags, merged[0].digests, c.version); string(got) != c.want {
				t.Errorf("entry\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMergeImages_newestFirst(t *testing.T) {
	merged := mergeImages([]engine.ImageSet{
		listed(t, `{"Id":"sha256:b","Created":5}`, `{"Id":"sha256:c","Created":7}`),
		listed(t, `{"Id":"sha256:a","Created":5}`),
	})
	var got string
	for _, m := range merged {
		got += m.ID[7:]
	}
	if got != "cab" {
		t.Errorf("order %s", got)
	}
}

func TestImageMatch_hidesTheStepsOfBuilds(t *testing.T) {
	step, named, lost := `{"Id":"sha256:1","RepoTags":["<none>:<none>"],"RepoDigests":["<none>@<none>"]}`, `{"Id":"sha256:2","ParentId":"sha256:1","RepoTags":["a:1"]}`, `{"Id":"sha256:3","RepoTags":[]}`
	digested := `{"Id":"sha256:4","RepoTags":[],"RepoDigests":["a@sha256:0"]}`
	for name, c := range map[string]struct {
		sets    []engine.ImageSet
		all     bool
		filters []string
		want    string
	}{
		"a step is hidden, what lost its name is not": {[]engine.ImageSet{listed(t, step, named, lost)}, false, nil, "23"},
		"all are shown when asked for":                {[]engine.ImageSet{listed(t, step, named, lost)}, true, nil, "123"},
		"a step that is a leaf elsewhere is shown":    {[]engine.ImageSet{listed(t, step, named), listed(t, step)}, false, nil, "12"},
		"a step that has a name elsewhere is shown":   {[]engine.ImageSet{listed(t, step, named), listed(t, `{"Id":"sha256:1","RepoTags":["x:1"]}`, named)}, false, nil, "12"},
		"dangling":                        {[]engine.ImageSet{listed(t, step, named, lost, digested)}, false, []string{"dangling=true"}, "34"},
		"dangling, with all":              {[]engine.ImageSet{listed(t, step, named, lost)}, true, []string{"dangling=true"}, "3"},
		"not dangling":                    {[]engine.ImageSet{listed(t, step, named, lost, digested)}, true, []string{"dangling=false"}, "24"},
		"dangling here and named there":   {[]engine.ImageSet{listed(t, lost), listed(t, `{"Id":"sha256:3","RepoTags":["b:1"]}`)}, false, []string{"dangling=true"}, ""},
		"a reference leaves out nameless": {[]engine.ImageSet{listed(t, step, named, lost)}, true, []string{"reference=*"}, "2"},
		"a reference to a digest":         {[]engine.ImageSet{listed(t, digested)}, true, []string{"reference=a"}, "4"},
		"both":                            {[]engine.ImageSet{listed(t, digested, lost)}, true, []string{"reference=a", "dangling=true"}, "4"},
	} {
		t.Run(name, func(t *testing.T) {
			match, err := (&Cluster{}).newImageMatch(ImageListOptions{All: c.all, Filters: apifilter.New(c.filters...)})
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for _, m := range mergeImages(c.sets) {
				if _, _, ok := match.matches(m); ok {
					got += m.ID[7:]
				}
			}
			if got != c.want {
				t.Errorf("shown %q, want %q", got, c.want)
			}
		})
	}
}

func TestMatchesReference(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"busybox", "busybox:latest", true},
		{"busybox:*", "busybox:latest", true},
		{"busy*:l*", "busybox:latest", true},
		{"busy*", "busybox:latest", true},
		{"box", "busybox:latest", false},
		{"*", "a/b:latest", false},
		{"*/*", "a/b:latest", true},
		{"localhost:5000/*", "localhost:5000/a:1", true},
		{"localhost:5000/a", "localhost:5000/a:1", true},
		{"a", "a@sha256:00", true},
		{"a@sha256:*", "a@sha256:00", true},
	} {
		if got := matchesReference(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.name, got)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	for text, want := range map[string]time.Time{
		"24h":                  now.Add(-24 * time.Hour),
		"1700000000":           time.Unix(1700000000, 0),
		"1700000000.5":         time.Unix(1700000000, 0),
		"0":                    time.Unix(0, 0),
		"2026-01-02":           time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"2026-01-02T03:04":     time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local),
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02Z":          time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	if _, err := moment("yesterday", now); err == nil {
		t.Error("no error for yesterday")
	}
}

// manyImages is what n engines list of the images that most of them share.
func manyImages(n, each int) []engine.ImageSet {
	sets := make([]engine.ImageSet, n)
	for i := range sets {
		images := make([]*engine.Image, each)
		for k := range images {
			id := k
			if k%10 == 0 { // every tenth is the engine's own
				id = i*each + k
			}
			raw := fmt.Sprintf(`{"Containers":-1,"Created":%d,"Id":"sha256:%064x","Labels":{"maintainer":"someone"},"ParentId":"","RepoDigests":["repo/image%d@sha256:%064x"],"RepoTags":["repo/image%d:latest"],"SharedSize":-1,"Size":9120856,"VirtualSize":9120856}`, 1700000000+id, id, id, id, id)
			images[k] = &engine.Image{Raw: []byte(raw)}
			must(json.Unmarshal([]byte(raw), images[k]))
		}
		sets[i] = engine.NewImageSet(images)
	}
	return sets
}

func BenchmarkImages_merge1000EnginesOf50(b *testing.B) {
	sets := manyImages(1000, 50)
	for b.Loop() {
		mergeImages(sets)
	}
}

func BenchmarkImages_list1000EnginesOf50(b *testing.B) {
	sets := manyImages(1000, 50)
	var cache imageCache
	match, err := (&Cluster{}).newImageMatch(ImageListOptions{})
	must(err)
	for b.Loop() {
		size := 0
		for _, img := range cache.of(sets) {
			if tags, digests, ok := match.matches(img); ok {
				size += len(img.entry(tags, digests, apiversion.Version{Major: 1, Minor: 41}))
			}
		}
	}
}
