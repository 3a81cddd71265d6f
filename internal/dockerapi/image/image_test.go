package image_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/skep/skep/internal/enginetest"
)

func TestList(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	base := engines[0].AddImage(enginetest.Image{Labels: map[string]string{"base": "yes"}})
	engines[0].AddImage(enginetest.Image{Tags: []string{"app:1"}, ParentID: base, Extra: map[string]any{"Unknown": 1}})
	for _, e := range engines {
		e.AddImage(enginetest.Image{Tags: []string{"busybox:latest"}, Created: 1_800_000_000})
	}
	d := open(t, engines...)
	for path, want := range map[string]string{
		"/images/json":                                         "busybox:latest app:1",
		"/images/json?all=1":                                   "busybox:latest app:1 <none>:<none>",
		"/images/json?all=0":                                   "busybox:latest app:1",
		"/v1.24/images/json?filter=busybox":                    "busybox:latest",
		"/v1.44/images/json?filter=busybox":                    "busybox:latest app:1",
		"/v1.44/images/json?all=1":                             "busybox:latest app:1",
		`/images/json?filters={"reference":["app*"]}`:          "app:1",
		`/images/json?filters={"reference":{"app*":true}}`:     "app:1",
		`/images/json?filters={"node":["n2"]}`:                 "busybox:latest",
		`/images/json?filters={"since":["app:1"]}`:             "busybox:latest",
		`/images/json?filters={"before":["busybox"]}`:          "app:1",
		`/images/json?filters={"until":["1750000000"]}`:        "app:1",
		`/images/json?all=1&filters={"label":["base=yes"]}`:    "<none>:<none>",
		`/images/json?filters={"label":["base=no"]}`:           "",
		`/images/json?filters={"dangling":["true"]}`:           "",
		`/images/json?shared-size=1&manifests=1`:               "busybox:latest app:1",
		`/images/json?filters={"label!":["base"]}&no-such=too`: "busybox:latest app:1",
	} {
		status, body := d.Call("GET", path, nil)
		var list []struct{ RepoTags []string }
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
			continue
		}
		var tags []string
		for _, i := range list {
			tags = append(tags, i.RepoTags...)
		}
		if got := strings.Join(tags, " "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if _, body := d.Call("GET", "/images/json", nil); !strings.Contains(body, `"Unknown":1`) {
		t.Errorf("a field that skep does not know is lost: %s", body)
	}
	for filters, want := range map[string]string{
		`{"color":["red"]}`:     `{"message":"invalid filter 'color'"}`,
		`{"dangling":["so"]}`:   `{"message":"invalid filter 'dangling=[so]'"}`,
		`{"reference":["[a"]}`:  `{"message":"invalid filter 'reference=[a': syntax error in pattern"}`,
		`{"dangling"`:           `{"message":"invalid filter"}`,
		`{"until":["someday"]}`: `{"message":"invalid filter 'until=someday': give a time as 2026-01-31T15:04:05, as seconds since 1970, or as a duration that is past, such as 24h"}`,
	} {
		d.Want("GET", "/images/json?filters="+filters, nil, http.StatusBadRequest, want)
	}
	d.Want("GET", `/images/json?filters={"before":["nosuch"]}`, nil, http.StatusNotFound, `{"message":"No such image: nosuch"}`)
}

func TestInspectAndHistory_findTheImageByAnyOfItsNames(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	names := map[string]string{ // as the user says it: as the engine has it
		"busybox": "busybox:latest", "busybox:latest": "busybox:latest", "docker.io/library/busybox": "busybox:latest",
		"json": "json:latest", "get": "get:latest", "v1": "v1:latest", "v1.41": "v1.41:latest", "history": "history:latest",
		"a/b:2": "a/b:2", "a/json": "a/json:latest", "localhost:5000/x/y": "localhost:5000/x/y:latest",
		// also the beginning of an ID
		"cafe": "cafe:latest",
	}
	tags := map[string]bool{}
	for _, tag := range names {
		tags[tag] = true
	}
	for tag := range tags {
		engines[1].AddImage(enginetest.Image{Tags: []string{tag}})
	}
	id := engines[1].AddImage(enginetest.Image{ID: "sha256:cafe" + strings.Repeat("0", 60), Digests: []string{"busybox@sha256:" + strings.Repeat("1", 64)}})
	engines[0].AddImage(enginetest.Image{ID: "sha256:cafe" + strings.Repeat("5", 60)})
	// The fake knows names in their short form only.
	engines[1].Handle("GET", "/images/docker.io/library/busybox/{what}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"RepoTags":["busybox:latest"]}`))
	})
	d := open(t, engines...)
	for given, tag := range names {
		for _, what := range []string{"/json", "/history"} {
			if status, body := d.Call("GET", "/v1.41/images/"+given+what, nil); status != http.StatusOK || !strings.Contains(body, `["`+tag+`"]`) {
				t.Errorf("%s%s: %d %s", given, what, status, body)
			}
		}
		if got := engines[1].Requests("GET /images/" + given + "/json"); len(got) == 0 {
			t.Errorf("%s was sent under another name", given)
		}
	}
	for _, given := range []string{id, id[7:], id[7:19], "sha256:cafe00", "busybox@sha256:" + strings.Repeat("1", 64)} {
		if status, body := d.Call("GET", "/images/"+given+"/json", nil); status != http.StatusOK || !strings.Contains(body, id) {
			t.Errorf("%s: %d %s", given, status, body)
		}
	}
	d.Want("GET", "/images/nosuch/json", nil, http.StatusNotFound, `{"message":"No such image: nosuch"}`)
	d.Want("GET", "/images/nosuch/history", nil, http.StatusNotFound, `{"message":"No such image: nosuch"}`)
	if status, body := d.Call("GET", "/images/caf/json", nil); status != http.StatusBadRequest || !strings.Contains(body, "ambiguous") {
		t.Errorf("two images whose IDs begin alike on two engines: %d %s", status, body)
	}
}

func TestInspect_asksTheNextWhereTheFirstCannotTell(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.AddImage(enginetest.Image{Tags: []string{"busybox:latest"}})
	}
	engines[0].Fail("GET", "/images/busybox/json", http.StatusNotFound, "No such image: busybox:latest")
	engines[1].Handle("GET", "/images/busybox/json", hangUp)
	d := open(t, engines...)
	if status, body := d.Call("GET", "/images/busybox/json?x=y", nil); status != http.StatusOK || !strings.Contains(body, `"FoundOn":"n3"`) {
		t.Errorf("%d %s", status, body)
	}
	wantNames(t, "asked", engines[2].Requests("GET /images/busybox/json"), "GET /images/busybox/json?x=y")
}

func TestSave(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	engines[0].AddImage(enginetest.Image{Tags: []string{"a:1"}})
	id := ""
	for _, e := range engines[1:] {
		e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
		id = e.AddImage(enginetest.Image{Tags: []string{"b:1"}})
	}
	engines[1].Handle("GET", "/images/get", hangUp)
	d := open(t, engines...)
	status, body := d.Call("GET", "/images/get?names=a:1&names="+id[7:19], nil)
	if status != http.StatusOK || !strings.Contains(body, `"a:1"`) || !strings.Contains(body, id) {
		t.Errorf("%d %s", status, body)
	}
	wantNames(t, "n3 was asked", engines[2].Requests("GET /images/get"), "GET /images/get?names=a%3A1&names="+strings.ReplaceAll(id, ":", "%3A"))
	if status, body := d.Call("GET", "/images/a:1/get", nil); status != http.StatusOK || !strings.Contains(body, `"a:1"`) {
		t.Errorf("%d %s", status, body)
	}
	d.Want("GET", "/images/get?names=b:1&names=c", nil, http.StatusNotFound, `{"message":"Unable to find a healthy engine containing all images: [b:1 c]"}`)
	d.Want("GET", "/images/c/get", nil, http.StatusNotFound, `{"message":"No such image: c"}`)
	if status, _ := d.Call("GET", "/images/get", nil); status != http.StatusBadRequest {
		t.Errorf("save of nothing: %d", status)
	}
}

func TestPush_goesToAnEngineThatHasIt(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	engines[0].AddImage(enginetest.Image{Tags: []string{"reg:5000/a/b:1"}})
	engines[1].AddImage(enginetest.Image{Tags: []string{"reg:5000/a/b:2"}})
	engines[1].AddImage(enginetest.Image{Tags: []string{"reg:5000/a/b:3"}})
	d := open(t, engines...)
	if status, body := d.Call("POST", "/images/reg:5000/a/b/push?tag=1", nil); status != http.StatusOK || !strings.Contains(body, "repository [reg:5000/a/b]") {
		t.Errorf("%d %s", status, body)
	}
	wantNames(t, "n1 was asked", engines[0].Requests("POST"), "POST /images/reg:5000/a/b/push?tag=1")
	if status, _ := d.Call("POST", "/images/reg:5000/a/b/push", nil); status != http.StatusOK {
		t.Errorf("push of all tags: %d", status)
	}
	wantNames(t, "n2, which has most, was asked", engines[1].Requests("POST"), "POST /images/reg:5000/a/b/push")
	d.Want("POST", "/images/reg:5000/a/b/push?tag=9", nil, http.StatusNotFound, `{"message":"No such image: reg:5000/a/b:9"}`)
	d.Want("POST", "/images/nosuch/push", nil, http.StatusNotFound, `{"message":"No such image: nosuch"}`)
}

func TestTag_namesTheImageOnEveryEngineThatHasIt(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines[:2] {
		e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
	}
	d := open(t, engines...)
	d.Want("POST", "/images/a:1/tag?repo=localhost:5000/x/y&tag=2", nil, http.StatusCreated, "")
	wantNames(t, "tagged", with(engines, "localhost:5000/x/y:2"), "n1", "n2")
	if _, body := d.Call("GET", "/images/localhost:5000/x/y:2/json", nil); !strings.Contains(body, "a:1") {
		t.Errorf("the new name is not known at once: %s", body)
	}
	d.Want("POST", "/images/nosuch/tag?repo=x", nil, http.StatusNotFound, `{"message":"No such image: nosuch"}`)

	engines[1].Fail("POST", "/images/a:1/tag", http.StatusConflict, "no more names")
	d.Want("POST", "/images/a:1/tag?repo=z", nil, http.StatusConflict, `{"message":"n2: no more names; tagged on n1"}`)
}

func TestRemove(t *testing.T) {
	t.Run("from every engine that has it, telling each thing once", func(t *testing.T) {
		engines := enginetest.StartMany(t, 3)
		var id string
		for _, e := range engines[:2] {
			id = e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
		}
		d := open(t, engines...)
		d.Want("DELETE", "/images/a:1?force=0&noprune=1", nil, http.StatusOK, `[{"Untagged":"a:1"},{"Deleted":"`+id+`"}]`)
		wantNames(t, "left on", with(engines, "a:1"))
		wantNames(t, "asked", engines[0].Requests("DELETE"), "DELETE /images/a:1?force=0&noprune=1")
		wantNames(t, "not asked", engines[2].Requests("DELETE"))
		d.Want("GET", "/images/json", nil, http.StatusOK, `[]`)
		d.Want("DELETE", "/images/a:1", nil, http.StatusNotFound, `{"message":"No such image: a:1"}`)
	})
	t.Run("one engine's refusal does not keep the others", func(t *testing.T) {
		engines := enginetest.StartMany(t, 3)
		for _, e := range engines {
			e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
		}
		engines[1].Fail("DELETE", "/images/a:1", http.StatusConflict, "conflict: it is in use")
		d := open(t, engines...)
		d.Want("DELETE", "/images/a:1", nil, http.StatusConflict, `{"message":"n2: conflict: it is in use; removed on n1, n3"}`)
		wantNames(t, "left on", with(engines, "a:1"), "n2")
	})
	t.Run("by the beginning of its ID", func(t *testing.T) {
		engines := enginetest.StartMany(t, 1)
		id := engines[0].AddImage(enginetest.Image{})
		d := open(t, engines...)
		d.Want("DELETE", "/images/"+id[7:12], nil, http.StatusOK, `[{"Deleted":"`+id+`"}]`)
		wantNames(t, "asked", engines[0].Requests("DELETE"), "DELETE /images/"+id)
	})
	t.Run("what an engine has lost is no error", func(t *testing.T) {
		engines := enginetest.StartMany(t, 2)
		for _, e := range engines {
			e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
		}
		engines[0].Fail("DELETE", "/images/a:1", http.StatusNotFound, "No such image: a:1")
		d := open(t, engines...)
		if status, body := d.Call("DELETE", "/images/a:1", nil); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("nothing named", func(t *testing.T) {
		open(t).Want("DELETE", "/images/", nil, http.StatusBadRequest, `{"message":"image name cannot be blank"}`)
	})
}

func TestPrune_mergesTheAnswers(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	for _, e := range engines {
		e.AddImage(enginetest.Image{ID: "sha256:aa", Size: 7})
	}
	engines[1].AddImage(enginetest.Image{ID: "sha256:bb", Size: 1})
	d := open(t, engines...)
	d.Want("POST", "/images/prune", nil, http.StatusOK, `{"ImagesDeleted":[{"Deleted":"sha256:aa"},{"Deleted":"sha256:bb"}],"SpaceReclaimed":15}`)
}

func TestWhatAnyEngineCanAnswer(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[0].Handle("GET", "/{any:.*}", func(w http.ResponseWriter, r *http.Request) { hangUp(w, r) })
	engines[0].Handle("GET", "/{known:_ping|version|info|events|containers/json|images/json|networks|volumes}", nil)
	d := open(t, engines...)
	for range 8 { // the first to be asked is any
		d.Want("GET", "/v1.41/distribution/localhost:5000/x/y:1/json", nil, http.StatusOK, `{"Descriptor":{"digest":"sha256:0"},"Name":"localhost:5000/x/y:1"}`)
		d.Want("GET", "/images/search?term=a%20b", nil, http.StatusOK, `[{"description":"found by n2","name":"a b"}]`)
	}
	d.Want("GET", "/images/viz", nil, http.StatusNotImplemented, `{"message":"Not supported in clustering mode."}`)
	d.Want("POST", "/images/create", nil, http.StatusBadRequest, `{"message":"give fromImage to pull an image, or fromSrc to import one"}`)
	none := open(t)
	none.Want("GET", "/images/search?term=a", nil, http.StatusServiceUnavailable, `{"message":"No healthy node available in the cluster"}`)
	none.Want("POST", "/images/create?fromImage=a", nil, http.StatusServiceUnavailable, `{"message":"No healthy node available in the cluster"}`)
	none.Want("POST", "/images/load", nil, http.StatusServiceUnavailable, `{"message":"No healthy node available in the cluster"}`)
	none.Want("GET", "/images/json", nil, http.StatusOK, `[]`)
}
