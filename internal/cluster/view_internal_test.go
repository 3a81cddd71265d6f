package cluster

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func FuzzAppendQuoted(f *testing.F) {
	for _, s := range []string{"web", "", `a"b\c`, "<&>", "grün", "\x00\x7f", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		quoted := appendQuoted([]byte("["), "/", "node", "/", name)
		var got []string
		if err := json.Unmarshal(append(quoted, ']'), &got); err != nil || len(got) != 1 {
			t.Fatalf("%q: %v", quoted, err)
		}
		if utf8.ValidString(name) && got[0] != "/node/"+name {
			t.Errorf("%q is written as %q", name, got[0])
		}
	})
}
