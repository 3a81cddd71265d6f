package apifilter_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/skep/skep/internal/apifilter"
)

func TestArgs_matchOneValue(t *testing.T) {
	type verdict struct{ exact, match, fuzzy bool }
	for _, tc := range []struct {
		name   string
		values []string
		source string
		want   verdict
	}{
		{"no value matches everything", nil, "web", verdict{true, true, true}},
		{"the same text", []string{"web"}, "web", verdict{true, true, true}},
		{"a prefix", []string{"we"}, "web", verdict{false, true, true}},
		{"a part", []string{"eb"}, "web", verdict{false, true, false}},
		{"any of several", []string{"no", "web"}, "web", verdict{true, true, true}},
		{"none of several", []string{"no", "nor"}, "web", verdict{false, false, false}},
		{"case counts", []string{"WEB"}, "web", verdict{false, false, false}},
		{"a regular expression", []string{"^w.b$"}, "web", verdict{false, true, false}},
		{"an expression that does not match", []string{"^b"}, "web", verdict{false, false, false}},
		{"a bad expression is mere text", []string{"a["}, "xa[", verdict{false, true, false}},
		{"a bad expression does not match", []string{"a[", "("}, "web", verdict{false, false, false}},
		{"the empty value is a part of everything", []string{""}, "web", verdict{false, true, true}},
		{"a value too long for an expression", []string{"web" + strings.Repeat("|x", 4096)}, "web", verdict{false, false, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := apifilter.Args{}.With("name", tc.values...)
			got := verdict{args.ExactMatch("name", tc.source), args.Match("name", tc.source), args.FuzzyMatch("name", tc.source)}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if !args.ExactMatch("absent", tc.source) || !args.Match("absent", tc.source) || !args.FuzzyMatch("absent", tc.source) {
				t.Error("a key that is not given does not match")
			}
		})
	}
}

func TestArgs_matchLists(t *testing.T) {
	labels := map[string]string{"tier": "front", "empty": "", "eq": "a=b"}
	for _, tc := range []struct {
		name string
		args apifilter.Args
		want bool
	}{
		{"no value", apifilter.New(), true},
		{"a key without values", apifilter.Args{}.With("label"), true},
		{"a label that is there", apifilter.New("label=tier"), true},
		{"a label with its value", apifilter.New("label=tier=front"), true},
		{"a label with another value", apifilter.New("label=tier=back"), false},
		{"a label that is not there", apifilter.New("label=absent"), false},
		{"an empty value is a value", apifilter.New("label=tier="), false},
		{"an empty value that is there", apifilter.New("label=empty="), true},
		{"a value with an equals sign", apifilter.New("label=eq=a=b"), true},
		{"all must match", apifilter.New("label=tier=front", "label=absent"), false},
		{"a key is no prefix", apifilter.New("label=tie"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.args.MatchKVList("label", labels); got != tc.want {
				t.Errorf("MatchKVList = %v", got)
			}
			if got := tc.args.MatchLabels(labels); got != tc.want {
				t.Errorf("MatchLabels = %v", got)
			}
		})
	}
	if apifilter.New("label=a").MatchKVList("label", nil) {
		t.Error("no labels match a wanted one")
	}
}

func TestMatchLabels_sparesWhatPruneMustKeep(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   apifilter.Args
		labels map[string]string
		want   bool
	}{
		{"without the label", apifilter.New("label!=keep"), map[string]string{"a": "1"}, true},
		{"without labels", apifilter.New("label!=keep"), nil, true},
		{"with the label", apifilter.New("label!=keep"), map[string]string{"keep": ""}, false},
		{"with the label and another value", apifilter.New("label!=keep=yes"), map[string]string{"keep": "no"}, true},
		{"with one of two", apifilter.New("label!=keep", "label!=also"), map[string]string{"keep": ""}, true},
		{"a key without values spares all", apifilter.Args{}.With("label!"), map[string]string{"a": "1"}, false},
		{"both keys", apifilter.New("label=a", "label!=keep"), map[string]string{"a": "1", "keep": ""}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.args.MatchLabels(tc.labels); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestGetBool(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []string
		want   bool
		err    string
	}{
		{"1", []string{"1"}, true, ""},
		{"true", []string{"true"}, true, ""},
		{"0", []string{"0"}, false, ""},
		{"false", []string{"false"}, false, ""},
		{"the same truth twice", []string{"1", "true"}, true, ""},
		{"both truths", []string{"true", "0"}, false, "invalid filter 'dangling=[0 true]'"},
		{"another word", []string{"maybe"}, false, "invalid filter 'dangling=[maybe]'"},
		{"another spelling", []string{"True"}, false, "invalid filter 'dangling=[True]'"},
		{"no value", nil, false, "invalid filter 'dangling'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := apifilter.Args{}.With("dangling", tc.values...).GetBool("dangling", !tc.want)
			if tc.err != "" {
				wantInvalid(t, err, tc.err)
			} else if err != nil || got != tc.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for _, dflt := range []bool{true, false} {
		if got, err := apifilter.New("id=x").GetBool("dangling", dflt); got != dflt || err != nil {
			t.Errorf("not given, default %v: %v, %v", dflt, got, err)
		}
	}
}

func TestMatch_mayRunInManyGoroutines(t *testing.T) {
	args := apifilter.New("name=^w.b$", "name=a[")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if !args.Match("name", "web") || args.Match("name", "db") {
				t.Error("wrong verdict")
			}
		})
	}
	wg.Wait()
}

func BenchmarkMatch(b *testing.B) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("shop-web-%d", i)
	}
	for _, value := range []string{"web-77", "^shop-web-(1|2)$"} {
		b.Run(value, func(b *testing.B) {
			args := apifilter.New("name=" + value)
			b.ReportAllocs()
			for b.Loop() {
				for _, name := range names {
					args.Match("name", name)
				}
			}
		})
	}
}
