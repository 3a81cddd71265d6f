package placement_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/placement"
)

func TestParseExpression_readsKeyOperatorAndValue(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want placement.Expression
	}{
		{"rack==a", placement.Expression{Key: "rack", Value: "a"}},
		{"rack!=a", placement.Expression{Key: "rack", Operator: placement.NotEqual, Value: "a"}},
		{"rack==~a*", placement.Expression{Key: "rack", Value: "a*", Soft: true}},
		{"rack!=~a", placement.Expression{Key: "rack", Operator: placement.NotEqual, Value: "a", Soft: true}},
		{"node!=/n[12]/", placement.Expression{Key: "node", Operator: placement.NotEqual, Value: "/n[12]/"}},
		{"node==~/n/", placement.Expression{Key: "node", Value: "/n/", Soft: true}},
		{"k==v", placement.Expression{Key: "k", Value: "v"}},
		{"Com.Example_x-1==V", placement.Expression{Key: "Com.Example_x-1", Value: "V"}},
		{"operatingsystem==Debian GNU/Linux 12 (bookworm)", placement.Expression{Key: "operatingsystem", Value: "Debian GNU/Linux 12 (bookworm)"}},
		{"image==reg.example:5000/a/b@sha256:0a", placement.Expression{Key: "image", Value: "reg.example:5000/a/b@sha256:0a"}},
		{"rack==/", placement.Expression{Key: "rack", Value: "/"}},
		{"path==/var/lib", placement.Expression{Key: "path", Value: "/var/lib"}},
		{"rack===a", placement.Expression{Key: "rack", Value: "=a"}},
	} {
		t.Run(tc.in, func(t *testing.T) {
			got, err := placement.ParseExpression(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(tc.want) {
				t.Errorf("got %#v, want %#v", got, tc.want)
			}
			if got.String() != tc.in {
				t.Errorf("String() = %q", got.String())
			}
		})
	}
}

func TestParseExpression_saysWhatToWriteInstead(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", "One of operator ==, != is expected: "},
		{"no operator", "rack", "One of operator ==, != is expected: "},
		{"a single equals sign", "rack=a", "One of operator ==, != is expected: "},
		{"the tilde in front", "rack=~a", "One of operator ==, != is expected: "},
		{"no key", "==a", "Key '' is invalid: "},
		{"a key that starts with a digit", "1rack==a", "Key '1rack' is invalid: "},
		{"a key with a space", "rack ==a", "Key 'rack ' is invalid: "},
		{"a letter that only folds to ASCII", "\u212aey==a", "Key '\u212aey' is invalid: "},
		{"three signs", "rack!==a", "Key 'rack!' is invalid: "},
		{"no value", "rack==", "Value '' is invalid: "},
		{"no soft value", "rack==~", "Value '~' is invalid: "},
		{"a character that is not allowed", "rack==a#b", "Value 'a#b' is invalid: "},
		{"a second operator", "rack==a==b", "Value 'a==b' is invalid: "},
		{"an empty regular expression", "rack==//", "Value '//' is invalid: the regular expression is empty; "},
		{"a soft empty regular expression", "rack==~//", "Value '//' is invalid: the regular expression is empty; "},
		{"a wrong regular expression", "rack==/a[/", "Value '/a[/' is invalid: error parsing regexp: missing closing ]"},
		{"a wrong negated regular expression", "rack!=/(/", "Value '/(/' is invalid: error parsing regexp: missing closing )"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := placement.ParseExpression(tc.in)
			if err == nil {
				t.Fatal("no error")
			}
			hint, ok := strings.CutPrefix(err.Error(), tc.want)
			if !ok || !strings.Contains(hint, "write") {
				t.Errorf("got %q, want it to start with %q and to say what to write", err, tc.want)
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Error("not an invalid argument")
			}
		})
	}
}

func TestParseExpressions_stopsAtTheFirstError(t *testing.T) {
	if got, err := placement.ParseExpressions(nil); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	got, err := placement.ParseExpressions([]string{"rack==a", "rack", "1==b"})
	if got != nil || err == nil || !strings.HasPrefix(err.Error(), "One of operator") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestExpression_matchesValues(t *testing.T) {
	for _, tc := range []struct {
		name, expression string
		matched, not     []string
	}{
		{"a text as it stands", "x==a.b", []string{"a.b"}, []string{"axb", "A.b", "a.bc", ""}},
		{"signs of regular expressions as they stand", "x==a?(b)+[c]|^d$", []string{"a?(b)+[c]|^d$"}, []string{"a", "d"}},
		{"a star as anything", "x==a*", []string{"a", "ab", "a b\nc"}, []string{"ba", ""}},
		{"a star in front", "x==*b", []string{"b", "ab", "bb"}, []string{"ba"}},
		{"stars around", "x==*b*", []string{"b", "abc"}, []string{"ac", ""}},
		{"a star in the middle, its ends not overlapping", "x==ab*ba", []string{"abba", "ab-ba"}, []string{"aba"}},
		{"several stars", "x==a*b*c", []string{"abc", "a-b-b-c"}, []string{"acb", "ac"}},
		{"a dot beside a star", "x==1.*", []string{"1.2"}, []string{"12"}},
		{"a lone star even without the label", "x==*", []string{"", "a"}, nil},
		{"a regular expression anywhere", "x==/b+/", []string{"abbc"}, []string{"ac"}},
		{"an anchored regular expression", "x==/^(a|b)$/", []string{"a", "b"}, []string{"ab", ""}},
		{"an absent label as empty", "x==/^$/", []string{""}, []string{"a"}},
		{"a lone slash", "x==/", []string{"/"}, []string{"", "a/b"}},
		{"not equal to a text", "x!=a", []string{"b", ""}, []string{"a"}},
		{"not equal to a glob", "x!=a*", []string{"b", ""}, []string{"a", "ab"}},
		{"not equal to a regular expression", "x!=/a/", []string{"b", ""}, []string{"ab"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := &placement.Request{Constraints: expressions(t, tc.expression)}
			for _, value := range tc.matched {
				if !admits(t, node("n", label("x", value)), req) {
					t.Errorf("%s does not match %q", tc.expression, value)
				}
			}
			for _, value := range tc.not {
				if admits(t, node("n", label("x", value)), req) {
					t.Errorf("%s matches %q", tc.expression, value)
				}
			}
		})
	}
}

func TestExpression_madeByHandWorksToo(t *testing.T) {
	req := &placement.Request{Constraints: []placement.Expression{{Key: "rack", Value: "/[ab]/"}}}
	if !admits(t, node("n", label("rack", "a")), req) || admits(t, node("n", label("rack", "c")), req) {
		t.Error("an expression without a compiled pattern was not compiled")
	}

	changed := expressions(t, "rack==a")
	changed[0].Value = "c"
	if !admits(t, node("n", label("rack", "c")), &placement.Request{Constraints: changed}) {
		t.Error("an expression whose value was changed kept its old pattern")
	}

	req.Constraints[0].Value = "/[/"
	_, err := policy(t, "spread").Place([]*placement.Node{node("n")}, req)
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("a regular expression that does not compile: %v", err)
	}
}

func FuzzParseExpression(f *testing.F) {
	for _, s := range []string{
		"rack==a", "rack!=~a*", "node==/", "node==//", "node==~/n[12]/", "a===b", "a!==b", "a==!b", "image==a/b:1@sha256:0",
		"image==docker.io//x/", "container==//a", "container==/", "k==/(/", "", "==", "a==~", "a==*", "a==***",
	} {
		f.Add(s)
	}
	policy := policy(f, "spread")
	nodes := []*placement.Node{node("n", label("k", "a/b"), holding(container("a/b")), images(&placement.Image{ID: "sha256:0a", Refs: []string{"a/b:1"}}))}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := placement.ParseExpression(s)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) || len(err.Error()) > 1000 {
				t.Fatalf("%q: error %q", s, err)
			}
			return
		}
		again, err := placement.ParseExpression(e.String())
		if err != nil {
			t.Fatalf("%q is written as %q, which is refused: %v", s, e, err)
		}
		if !again.Equal(e) {
			t.Fatalf("%q is written as %q, which reads %#v", s, e, again)
		}
		// Whatever was parsed can be asked, of every kind of thing.
		for _, key := range []string{"container", "image", "node", e.Key} {
			e.Key = key
			req := &placement.Request{Constraints: []placement.Expression{e}, Affinities: []placement.Expression{e}}
			if _, err := policy.Place(nodes, req); err != nil && !errdefs.IsUnavailable(err) {
				t.Fatalf("%q: %v", e, err)
			}
		}
	})
}
