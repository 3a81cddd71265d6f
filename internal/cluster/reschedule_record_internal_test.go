package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadInspect_keepsTheWishesAndLeavesWhatBecameOfThem(t *testing.T) {
	id := strings.Repeat("ab", 32)
	rec := Record{ID: id}
	err := rec.readInspect([]byte(`{"Id":"` + id + `","Config":{"Hostname":"abababababab","Image":"busybox","Env":["A=<b>"],"Later":1.50},
		"HostConfig":{"NetworkMode":"` + strings.Repeat("f", 64) + `","New":{"x":1}},
		"NetworkSettings":{"Networks":{
			"front":{"NetworkID":"` + strings.Repeat("f", 64) + `","IPAMConfig":{"IPv4Address":"10.0.0.9"},"Aliases":["www","abababababab"],"IPAddress":"10.0.0.9","MacAddress":"x","Links":null},
			"back":{"NetworkID":"b","DriverOpts":{"k":"v"},"EndpointID":"e"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Image":"busybox","Env":["A=<b>"],"Later":1.50,"HostConfig":{"NetworkMode":"front","New":{"x":1}}}`
	if diff := cmp.Diff(want, string(rec.Body)); diff != "" {
		t.Error(diff)
	}
	got := map[string]string{}
	for name, raw := range rec.Networks {
		got[name] = string(raw)
	}
	if diff := cmp.Diff(map[string]string{
		"front": `{"IPAMConfig":{"IPv4Address":"10.0.0.9"},"Aliases":["www"]}`, "back": `{"DriverOpts":{"k":"v"}}`,
	}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzReadInspect: whatever an engine says, there is an error or a body that a
// create can have.
func FuzzReadInspect(f *testing.F) {
	f.Add([]byte(`{"Config":{"Image":"x"},"HostConfig":{},"NetworkSettings":{"Networks":{"a":{"NetworkID":"1"}}}}`))
	f.Add([]byte(`{"Config":{"Hostname":1},"HostConfig":null,"NetworkSettings":{"Networks":{"a":null}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, inspect []byte) {
		rec := Record{ID: "0123456789abcdef"}
		if rec.readInspect(inspect) == nil && !json.Valid(rec.Body) {
			t.Errorf("%s became %s", inspect, rec.Body)
		}
	})
}
