package cluster

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skep/skep/internal/rawjson"
)

// What is sent to an engine is what the user has sent, but for the labels, what
// the environment said to placement, and the names of networks.
func FuzzCreateBody(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"Image":"busybox","Env":["A=b"],"HostConfig":{"Memory":9007199254740993}}`,
		`{"image":"x","labels":{"a":"b"},"ENV":["constraint:rack==a","A=b"]}`,
		`{"Labels":null,"Env":null,"HostConfig":null,"NetworkingConfig":null,"ExposedPorts":null}`,
		`{"Labels":{"com.docker.swarm.constraints":"[ \"rack==a\" ]","com.docker.swarm.id":"x"},"Later":{"x":[1e400,-0,"\u003c"]}}`,
		`{"Env":["affinity:image==~x","reschedule:off","whitelist:node==a|b"]}`,
		`{"HostConfig":{"NetworkMode":"n1/net","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"80-90"}]},"Links":["a:b"]}}`,
		`{"NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["a"]}}}}`,
		"{ \"Image\" :\n\"x\" }", `[]`, `null`, `{"Env":[1]}`, `{"Env":{}}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		c := emptyCluster(t)
		r, err := c.readCreate(CreateOptions{Body: body})
		if err != nil {
			if !isBadRequest(err) {
				t.Fatalf("%v is no fault of the user", err)
			}
			return
		}
		before, err := rawjson.ParseObject(given)
		if err != nil {
			t.Fatal(err)
		}
		after, err := rawjson.ParseObject(r.body.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", r.body.Bytes(), err)
		}
		wantKeys := before.Keys()
		if _, ok := before.Get("Labels"); !ok {
			wantKeys = append(wantKeys, "Labels")
		}
		if !slices.Equal(after.Keys(), wantKeys) {
			t.Fatalf("%s became %s", given, after.Bytes())
		}
		for _, key := range wantKeys {
			was, _ := before.Get(key)
			is, _ := after.Get(key)
			switch {
			case strings.EqualFold(key, "Labels"):
				sameLabels(t, was, is)
			case strings.EqualFold(key, "Env"):
				sameEnv(t, was, is)
			case strings.EqualFold(key, "HostConfig"), strings.EqualFold(key, "NetworkingConfig"):
				// Of an empty cluster no name is changed, only white space.
				if !sameValue(was, is) {
					t.Fatalf("%s: %s became %s", key, was, is)
				}
			case !bytes.Equal(was, is):
				t.Fatalf("%s: %s became %s", key, was, is)
			}
		}
	})
}

func isBadRequest(err error) bool {
	f, ok := err.(*failure)
	return ok && f.kind == invalid("").(*failure).kind
}

func sameValue(a, b []byte) bool {
	decode := func(raw []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

func sameLabels(t *testing.T, was, is []byte) {
	before, after := map[string]string{}, map[string]string{}
	if len(was) > 0 {
		if err := json.Unmarshal(was, &before); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(is, &after); err != nil {
		t.Fatal(err)
	}
	ours := []string{LabelSwarmID, LabelAffinities, LabelConstraints, LabelReschedule, LabelWhitelists}
	if after[LabelSwarmID] == "" || before[LabelSwarmID] != "" && before[LabelSwarmID] != after[LabelSwarmID] {
		t.Fatalf("swarm ID %q of %q", after[LabelSwarmID], before[LabelSwarmID])
	}
	for _, labels := range []map[string]string{before, after} {
		maps.DeleteFunc(labels, func(key, _ string) bool { return slices.Contains(ours, key) })
	}
	if !maps.Equal(before, after) {
		t.Fatalf("labels %s became %s", was, is)
	}
}

func sameEnv(t *testing.T, was, is []byte) {
	var before, after []string
	if json.Unmarshal(was, &before) != nil || json.Unmarshal(is, &after) != nil {
		t.Fatalf("env %s became %s", was, is)
	}
	kept := slices.DeleteFunc(slices.Clone(before), forPlacement)
	if !slices.Equal(kept, after) || len(kept) == len(before) && !bytes.Equal(was, is) {
		t.Fatalf("env %s became %s", was, is)
	}
}
