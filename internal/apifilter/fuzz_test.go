package apifilter_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"label":{"a=b":true}}`, `{"name":["a[","^x"]}`, `{"a":{"b":false}}`, `{"a":null}`,
		`{"a":{},"a":{"b":true}}`, `{"dangling":["1"]}`, `[]`, `{"a":`, `{"a":["\ud800"]}`, `{"label!":{"k":true}}`,
	} {
		f.Add(seed, "source")
	}
	f.Fuzz(func(t *testing.T, text, source string) {
		args, err := apifilter.Parse(text)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "invalid filter") {
				t.Fatalf("error %q", err)
			}
			return
		}
		if text != "" && !json.Valid([]byte(text)) {
			t.Fatalf("%q was accepted", text)
		}
		again, err := apifilter.Parse(args.String())
		if err != nil || again.String() != args.String() {
			t.Fatalf("%q came back as %q, %v", args, again, err)
		}
		if err := args.Validate(args.Keys()...); err != nil {
			t.Fatal(err)
		}
		for _, key := range args.Keys() {
			values := args.Get(key)
			exact := args.ExactMatch(key, source)
			if want := len(values) == 0 || slices.Contains(values, source); exact != want {
				t.Fatalf("ExactMatch(%q, %q) = %v", key, source, exact)
			}
			if fuzzy := args.FuzzyMatch(key, source); exact && !fuzzy || fuzzy && !args.Match(key, source) {
				t.Fatalf("%q, %q: what matches exactly has to match fuzzily, and that in general", key, source)
			}
			args.MatchKVList(key, map[string]string{source: source})
			_, _ = args.GetBool(key, true)
			if args.Without(key).Contains(key) || args.Without(key).Len() != args.Len()-1 {
				t.Fatalf("Without(%q) = %v", key, args.Without(key))
			}
		}
		args.MatchLabels(map[string]string{source: ""})
	})
}
