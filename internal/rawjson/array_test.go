package rawjson_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/rawjson"
)

func TestSplit_returnsElementsAsTheyAre(t *testing.T) {
	for _, tc := range []struct {
		name, array string
		want        []string
		err         string
	}{
		{"an empty array", ` [ ] `, nil, ""},
		{"null is an empty array", `null`, nil, ""},
		{"values of each kind", ` [ {"a" : [1, 2]} , "]\"," ,1.0e5,true , null,[]]`,
			[]string{`{"a" : [1, 2]}`, `"]\","`, `1.0e5`, `true`, `null`, `[]`}, ""},
		{"an object", `{}`, nil, "expected a JSON array, found an object"},
		{"trailing data", `[] []`, nil, "after top-level value"},
		{"a cut array", `[1,`, nil, "unexpected end of JSON input"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			elements, err := rawjson.Split([]byte(tc.array))
			wantError(t, err, tc.err)
			var got []string
			for _, e := range elements {
				got = append(got, string(e))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplit_elementsDoNotGrowIntoTheirNeighbours(t *testing.T) {
	array := []byte(`["a","b"]`)
	elements, err := rawjson.Split(array)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(elements[0], "overwritten"...)
	if string(array) != `["a","b"]` {
		t.Errorf("the array became %s", array)
	}
}

func TestParseObjects(t *testing.T) {
	for _, tc := range []struct {
		name, array string
		want        []string
		err         string
	}{
		{"objects", `[{"a":1} , {"b" : 2}]`, []string{`{"a":1}`, `{"b" : 2}`}, ""},
		{"null", `null`, nil, ""},
		{"an element that is no object", `[{},1]`, nil, "element 1: expected a JSON object, found a number"},
		{"an element with a key twice", `[{"a":1,"A":2}]`, nil, `element 0: duplicate key: "a" and "A"`},
		{"a cut array", `[{}`, nil, "unexpected end of JSON input"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects, err := rawjson.ParseObjects([]byte(tc.array))
			wantError(t, err, tc.err)
			var got []string
			for _, o := range objects {
				got = append(got, string(o.Bytes()))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestElements_oneThatIsNoObjectHidesNoOther(t *testing.T) {
	elements, err := rawjson.Elements([]byte(`[ {"a":1}, 2, {"a":1,"A":2} ]`))
	if err != nil || len(elements) != 3 {
		t.Fatal(elements, err)
	}
	if elements[0].Err != nil || elements[1].Err == nil || elements[2].Err == nil || string(elements[2].Raw) != `{"a":1,"A":2}` {
		t.Errorf("%+v", elements)
	}
	if _, err := rawjson.Elements([]byte(`{}`)); err == nil {
		t.Error("an object is read as a list")
	}
}

func TestMembers_givesNamesAsTheyAreSpelled(t *testing.T) {
	o, err := rawjson.ParseObject([]byte(`{"a": 1, "\u0062":[2] , "c":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, value := range o.Members() {
		if string(name) == `"c"` {
			break
		}
		got = append(got, string(name)+string(value))
	}
	if strings.Join(got, " ") != `"a"1 "\u0062"[2]` {
		t.Error(got)
	}
}
