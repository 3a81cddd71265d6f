package apiversion_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/skep/skep/internal/apiversion"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, given, want string }{
		{"a version", "1.41", "1.41"},
		{"a major of two digits", "10.2", "10.2"},
		{"zeros in front", "01.041", "1.41"},
		{"nothing", "", ""},
		{"a major alone", "1", ""},
		{"no minor", "1.", ""},
		{"no major", ".41", ""},
		{"three parts", "1.41.2", ""},
		{"a sign", "1.+4", ""},
		{"a minus", "-1.4", ""},
		{"white space", " 1.41", ""},
		{"words", "one.two", ""},
		{"a v", "v1.41", ""},
		{"more than a number holds", "1.99999999999999999999", ""},
		{"another script's digits", "١.٤", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := apiversion.Parse(tc.given)
			if (err == nil) != (tc.want != "") {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				if !v.IsZero() {
					t.Errorf("%s beside an error", v)
				}
				return
			}
			if v.String() != tc.want {
				t.Errorf("got %s", v)
			}
		})
	}
}

func TestLess_isByNumber(t *testing.T) {
	ascending := []string{"0.9", "1.0", "1.9", "1.10", "1.24", "1.100", "2.0", "10.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			va, _ := apiversion.Parse(a)
			vb, _ := apiversion.Parse(b)
			if va.Less(vb) != (i < j) {
				t.Errorf("%s less than %s: %t", a, b, va.Less(vb))
			}
		}
	}
}

func TestClamp_isTheNearestInside(t *testing.T) {
	version := rapid.Custom(func(t *rapid.T) apiversion.Version {
		return apiversion.Version{Major: rapid.IntRange(0, 2).Draw(t, "major"), Minor: rapid.IntRange(0, 60).Draw(t, "minor")}
	})
	rapid.Check(t, func(t *rapid.T) {
		low, high, v := version.Draw(t, "low"), version.Draw(t, "high"), version.Draw(t, "v")
		if high.Less(low) {
			low, high = high, low
		}
		got := v.Clamp(low, high)
		inside := !v.Less(low) && !high.Less(v)
		if got.Less(low) || high.Less(got) || inside && got != v || v.Less(low) && got != low || high.Less(v) && got != high {
			t.Fatalf("%s between %s and %s: %s", v, low, high, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1.41", "", ".", "1..2", "32767.32767", "32768.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := apiversion.Parse(s)
		if err != nil {
			return
		}
		again, err := apiversion.Parse(v.String())
		if err != nil || again != v || v.Major < 0 || v.Minor < 0 {
			t.Fatalf("%q: %v, again %v, %v", s, v, again, err)
		}
	})
}
