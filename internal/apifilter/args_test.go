package apifilter_test

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apifilter"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", ``, ``},
		{"an empty object", `{}`, ``},
		{"null", `null`, ``},
		{"the present form", `{"label":{"b":true,"a=1":true}}`, `{"label":{"a=1":true,"b":true}}`},
		{"the former form", `{"name":["b","a","b"],"id":["x"]}`, `{"id":{"x":true},"name":{"a":true,"b":true}}`},
		{"values count whatever their boolean says", `{"label":{"a":true,"b":false},"id":{"c":false}}`, `{"id":{"c":true},"label":{"a":true,"b":true}}`},
		{"a key without values", `{"label":{}}`, `{"label":{}}`},
		{"a key that is null", `{"label":null}`, `{"label":{}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args, err := apifilter.Parse(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, args.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse_refuses(t *testing.T) {
	for _, tc := range []struct{ name, text, err string }{
		{"text", `label=a`, "invalid filter"},
		{"an array", `["a"]`, "invalid filter"},
		{"a value alone", `{"label":"a"}`, "invalid filter"},
		{"both forms at once", `{"label":{"a":true},"name":["b"]}`, "invalid filter"},
		{"trailing data", `{}{}`, "invalid filter"},
		{"a number for a boolean", `{"label":{"a":1}}`, "invalid filter"},
		{"a parameter that is too long", `{"a":["` + strings.Repeat("x", apifilter.MaxLength) + `"]}`, "invalid filter: longer than 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args, err := apifilter.Parse(tc.text)
			wantInvalid(t, err, tc.err)
			if args.Len() != 0 {
				t.Errorf("an error comes with %v", args)
			}
		})
	}
}

func TestNew_readsPairsAsTheCLIDoes(t *testing.T) {
	args := apifilter.New("label=a=1", "label=b", "label!=c", "dangling")
	want := `{"dangling":{"":true},"label":{"a=1":true,"b":true},"label!":{"c":true}}`
	if diff := cmp.Diff(want, args.String()); diff != "" {
		t.Error(diff)
	}
}

func TestArgs_lookUp(t *testing.T) {
	args := apifilter.New("name=b", "name=a", "id=x").With("empty")
	if diff := cmp.Diff([]string{"a", "b"}, args.Get("name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"empty", "id", "name"}, args.Keys()); diff != "" {
		t.Error(diff)
	}
	if args.Len() != 3 || !args.Contains("empty") || args.Contains("absent") {
		t.Errorf("Len %d, Contains(empty) %v, Contains(absent) %v", args.Len(), args.Contains("empty"), args.Contains("absent"))
	}
	if args.Get("empty") != nil || args.Get("absent") != nil {
		t.Error("Get returns values where there are none")
	}
}

func TestArgs_withAndWithoutLeaveTheOriginalAlone(t *testing.T) {
	args := apifilter.New("name=a", "id=x")
	more := args.With("name", "b", "a").With("label", "l")
	less := more.Without("id", "absent")
	for _, tc := range []struct {
		name string
		args apifilter.Args
		want string
	}{
		{"original", args, `{"id":{"x":true},"name":{"a":true}}`},
		{"more", more, `{"id":{"x":true},"label":{"l":true},"name":{"a":true,"b":true}}`},
		{"less", less, `{"label":{"l":true},"name":{"a":true,"b":true}}`},
		{"nothing", less.Without("label", "name"), ``},
		{"of the zero value", apifilter.Args{}.Without("x").With("y", "z"), `{"y":{"z":true}}`},
	} {
		if diff := cmp.Diff(tc.want, tc.args.String()); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func TestValidate_namesTheUnknownKey(t *testing.T) {
	args := apifilter.New("name=a", "zzz=1", "bogus=1")
	wantInvalid(t, args.Validate("name", "id"), "invalid filter 'bogus'")
	if err := args.Validate("name", "bogus", "zzz"); err != nil {
		t.Error(err)
	}
	if err := (apifilter.Args{}).Validate(); err != nil {
		t.Error(err)
	}
	empty, err := apifilter.Parse(`{"bogus":{"x":false}}`)
	if err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, empty.Validate("name"), "invalid filter 'bogus'")
}

func wantInvalid(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want %q", want)
	case err.Error() != want:
		t.Errorf("error %q, want %q", err, want)
	case !errdefs.IsInvalidArgument(err):
		t.Errorf("error %q is not of the kind InvalidArgument", err)
	}
}
