package rawjson_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/rawjson"
)

func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 } `, `{"a":1,"A":2}`, `{"a":1,"a":2}`, `{"k":1,"\u212a":2}`, `{"ſ":1,"s":2}`,
		`{"a":"\"","b":"\\"}`, `{"a":[{"b":"]}"}],"c":-1.5e3}`, "{\"\xff\":1,\"\ufffd\":2}", `{"\ud800":1}`,
		`[]`, `null`, ``, `{"a":1}x`, `{"a"`, `{"a":{"a":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		names, values, valid := membersOf(data)
		o, err := rawjson.ParseObject(data)
		if (err == nil) != (valid && !anyFold(names)) {
			t.Fatalf("ParseObject: %v; encoding/json: valid %v, names %q", err, valid, names)
		}
		if err != nil {
			return
		}
		if o.Len() != len(names) || !slices.Equal(o.Keys(), names) {
			t.Fatalf("Len = %d, Keys = %q, want %q", o.Len(), o.Keys(), names)
		}
		for i, name := range names {
			got, found := o.Get(name)
			if !found || !bytes.Equal(got, values[i]) {
				t.Fatalf("Get(%q) = %q, %v; want %q", name, got, found, values[i])
			}
		}
		sameValue(t, o.Bytes(), data)

		// Written anew, it still is the same value, and it can be parsed again.
		o.SetRaw("new member", json.RawMessage("1"))
		o.Delete("new member")
		if _, had := membersNamed(names, "new member"); !had {
			sameValue(t, o.Bytes(), data)
		}
		if _, err := rawjson.ParseObject(o.Bytes()); err != nil {
			t.Fatalf("its own output %q: %v", o.Bytes(), err)
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`[]`, ` [ 1 , "a,]" , {} ] `, `null`, `[[],[[]]]`, `[1`, `{}`, `[1]2`, `["\\"]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []json.RawMessage
		wantErr := json.Unmarshal(data, &want)
		got, err := rawjson.Split(data)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Split: %v; encoding/json: %v", err, wantErr)
		}
		if len(got) != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("element %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// membersOf reads an object by encoding/json's own means.
func membersOf(data []byte) (names []string, values []json.RawMessage, valid bool) {
	if !json.Valid(data) || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return nil, nil, false
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, nil, false
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, false
		}
		names = append(names, token.(string))
		values = append(values, value)
	}
	return names, values, true
}

func anyFold(names []string) bool {
	for i := range names {
		if _, found := membersNamed(names[:i], names[i]); found {
			return true
		}
	}
	return false
}

func membersNamed(names []string, name string) (int, bool) {
	for i := range names {
		if strings.EqualFold(names[i], name) {
			return i, true
		}
	}
	return 0, false
}

// sameValue compares numbers by their spelling: some are beyond float64.
func sameValue(t *testing.T, got, want []byte) {
	t.Helper()
	if g, w := decode(t, got), decode(t, want); !cmp.Equal(g, w) {
		t.Fatalf("%q became %q", want, got)
	}
}

func decode(t *testing.T, data []byte) (value any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return value
}
