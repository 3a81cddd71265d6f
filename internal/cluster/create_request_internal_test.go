package cluster

import (
	"strings"
	"testing"

	"github.com/skep/skep/internal/engine"
)

func TestReadCreate_refusesWhatIsNoContainer(t *testing.T) {
	c := emptyCluster(t)
	for body, want := range map[string]string{
		`[]`:                                         "invalid JSON",
		`{"Image":1}`:                                "invalid JSON",
		`{"Image":"a","image":"b"}`:                  "image",
		`{"HostConfig":[]}`:                          "invalid JSON",
		`{"HostConfig":{"Binds":"x"}}`:               "invalid JSON",
		`{"HostConfig":{"Mounts":[1]}}`:              "invalid JSON",
		`{"Env":["constraint:rack"]}`:                "One of operator ==, != is expected",
		`{"Env":["reschedule:always"]}`:              "invalid reschedule policy: always",
		`{"Env":["affinity:image==/(/"]}`:            "affinity",
		`{"NetworkingConfig":{"EndpointsConfig":3}}`: "invalid JSON",
	} {
		_, err := c.readCreate(CreateOptions{Body: []byte(body)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestReadCreate_keepsWhatItDoesNotKnow(t *testing.T) {
	c := emptyCluster(t)
	r, err := c.readCreate(CreateOptions{Body: []byte(`{"Image":"a","New":{"x":12345678901234567890},"Env":["A=b","constraint:rack==a"],"HostConfig":{"Binds":["data:/x","/p:/q:ro"],"Newer":1.50}}`)})
	if err != nil {
		t.Fatal(err)
	}
	sent := string(r.body.Bytes())
	for _, want := range []string{
		`"New":{"x":12345678901234567890}`, `"Env":["A=b"]`, `"Binds":["data:/x","/p:/q:ro"],"Newer":1.50`,
		`"com.docker.swarm.constraints":"[\"rack==a\"]"`, `"com.docker.swarm.id":"`,
	} {
		if !strings.Contains(sent, want) {
			t.Errorf("%s\nlacks %s", sent, want)
		}
	}
	if got := r.placement.Constraints; len(got) != 1 || got[0].String() != "rack==a" {
		t.Errorf("constraints %v", got)
	}
}

func FuzzImageRef(f *testing.F) {
	for _, s := range []string{"busybox", "a/b:1", "localhost:5000/x@sha256:" + strings.Repeat("a", 64), "sha256:abc", strings.Repeat("f", 64), ":", "@"} {
		f.Add(s)
	}
	set := engine.NewImageSet([]*engine.Image{{ID: "sha256:" + strings.Repeat("f", 64), RepoTags: []string{"busybox:latest"}}})
	f.Fuzz(func(t *testing.T, s string) {
		ref := parseImageRef(s)
		if img := ref.in(set); img != nil && ref.familiar != "busybox:latest" && !strings.HasPrefix(img.ID, ref.idPrefix) {
			t.Errorf("%q is not %s", s, img.ID)
		}
	})
}

func FuzzFindContainer(f *testing.F) {
	c := emptyCluster(f)
	for _, s := range []string{"", "/", "n1/", "//x", "a/b/c", strings.Repeat("a", 64), strings.Repeat("a", 12), "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if found, err := c.Container(ref); err == nil {
			t.Errorf("%q found %s in an empty cluster", ref, found.ID)
		}
	})
}
