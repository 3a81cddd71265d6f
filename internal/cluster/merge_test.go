package cluster

import (
	"testing"

	"github.com/skep/skep/internal/rawjson"
)

func TestMergeAnswers(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers []string
		want    string
	}{
		{"one answer stays as it is, to the byte", []string{`{ "b": 1,"a":[ ] }`}, `{"b":1,"a":[ ]}`},
		{"lists are joined in the answers' order", []string{`{"Deleted":["a"]}`, `{"Deleted":[]}`, `{"Deleted":["b", "c"]}`}, `{"Deleted":["a","b","c"]}`},
		{"numbers are added", []string{`{"SpaceReclaimed":1}`, `{"SpaceReclaimed":41}`}, `{"SpaceReclaimed":42}`},
		{"large numbers are added to the last digit", []string{`{"n":9007199254740993}`, `{"n":18446744073709551615}`}, `{"n":18455751272964292608}`},
		{"fractions are added", []string{`{"n":0.5}`, `{"n":1}`}, `{"n":1.5}`},
		{"null says nothing", []string{`{"a":null,"n":null}`, `{"a":["x"],"n":7}`, `{"a":null,"n":null}`}, `{"a":["x"],"n":7}`},
		{"null of all stays null", []string{`{"a":null}`, `{"a":null}`}, `{"a":null}`},
		{"of strings, booleans and objects the first counts", []string{`{"s":"a","b":true,"o":{"x":1}}`, `{"s":"b","b":false,"o":{"x":2}}`}, `{"s":"a","b":true,"o":{"x":1}}`},
		{"what only a later one says is kept", []string{`{"a":1}`, `{"new":["x"]}`, `{"new":["y"]}`}, `{"a":1,"new":["x","y"]}`},
		{"what is of another kind than the first is left out", []string{`{"a":["x"],"n":1}`, `{"a":7,"n":"many"}`}, `{"a":["x"],"n":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var answers []*rawjson.Object
			for _, a := range test.answers {
				o, err := rawjson.ParseObject([]byte(a))
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, o)
			}
			merged, err := mergeAnswers(answers)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(merged.Bytes()); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
