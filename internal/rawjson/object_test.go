package rawjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/rawjson"
)

func parse(t *testing.T, text string) *rawjson.Object {
	t.Helper()
	o, err := rawjson.ParseObject([]byte(text))
	if err != nil {
		t.Fatalf("ParseObject(%s): %v", text, err)
	}
	return o
}

func TestParseObject_acceptsOneObjectOnly(t *testing.T) {
	for _, tc := range []struct{ name, text, err string }{
		{"an empty object", `{}`, ""},
		{"white space everywhere", " \t\r\n{ \"a\" : 1 , \"b\" : [ { } ] } \n", ""},
		{"quotes and brackets inside strings", `{"a":"}\"]\\","b":"\\\\"}`, ""},
		{"nothing", ``, "unexpected end of JSON input"},
		{"white space only", ` `, "unexpected end of JSON input"},
		{"an array", `[1]`, "expected a JSON object, found an array"},
		{"a string", `"{}"`, "expected a JSON object, found a string"},
		{"a number", `-1`, "expected a JSON object, found a number"},
		{"a boolean", `true`, "expected a JSON object, found a boolean"},
		{"null", `null`, "expected a JSON object, found null"},
		{"trailing data", `{} {}`, "after top-level value"},
		{"a trailing comma", `{"a":1,}`, "invalid character '}'"},
		{"a cut text", `{"a":`, "unexpected end of JSON input"},
		{"a depth beyond encoding/json's limit", strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001), "exceeded max depth"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := rawjson.ParseObject([]byte(tc.text))
			wantError(t, err, tc.err)
		})
	}
}

func TestParseObject_refusesKeysTheEngineWouldMerge(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf(`"key%d":%d`, i, i)
	}
	for _, tc := range []struct{ name, text, err string }{
		{"the same key twice", `{"Image":"a","Image":"b"}`, `duplicate key "Image"`},
		{"keys that differ in case", `{"Image":"a","x":0,"image":"b"}`, `duplicate key: "Image" and "image" name the same field`},
		{"a key that is escaped", `{"Image":"a","\u0049mage":"b"}`, `duplicate key "Image"`},
		{"a long s folds to s", `{"Hosts":1,"Hoſts":2}`, `"Hosts" and "Hoſts" name the same field`},
		{"the Kelvin sign folds to k", `{"\u212Aind":1,"kind":2}`, "\"\u212Aind\" and \"kind\" name the same field"},
		{"accents fold too", `{"É":1,"é":2}`, `"É" and "é" name the same field`},
		{"bytes that are not UTF-8 become one replacement rune", "{\"\xff\":1,\"\xfe\":2}", `duplicate key`},
		{"among many keys", "{" + strings.Join(many, ",") + `,"KEY7":0}`, `"key7" and "KEY7" name the same field`},
		{"many keys without duplicates", "{" + strings.Join(many, ",") + "}", ""},
		{"a dotless i is a letter of its own", `{"id":1,"ıd":2}`, ""},
		{"an inner object may repeat its parent's key", `{"a":{"a":1}}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := rawjson.ParseObject([]byte(tc.text))
			wantError(t, err, tc.err)
		})
	}
}

// The rule is only right if it is encoding/json's own.
func TestGet_matchesNamesAsEncodingJSONDoes(t *testing.T) {
	type field struct {
		Kiss int `json:"kiss"`
	}
	for _, name := range []string{"kiss", "KISS", "Kiſſ", "\u212Aiss", `ki\u0073s`, "kıss", "kis", "ki\xffs"} {
		text := fmt.Sprintf(`{"%s":1}`, name)
		var f field
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		if _, found := parse(t, text).Get("kiss"); found != (f.Kiss == 1) {
			t.Errorf("Get finds %q: %v, encoding/json: %v", name, found, !found)
		}
	}
}

func TestObject_untouchedKeepsItsBytes(t *testing.T) {
	const text = ` {"b" : 1.0e+2, "a":  12345678901234567890 , "u":"\u003c<" } `
	o := parse(t, text)
	if _, err := o.Object("absent"); err != nil {
		t.Fatal(err)
	}
	o.Delete("absent")
	if got := string(o.Bytes()); got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
}

func TestObject_edits(t *testing.T) {
	const text = `{"First" : 1.0e+2, "Name":"x", "Big":12345678901234567890, "Unknown": { "z" : [ 1 ] }}`
	for _, tc := range []struct {
		name string
		edit func(*rawjson.Object) error
		want string
	}{
		{
			"a set member keeps position and spelling, the others their bytes",
			func(o *rawjson.Object) error { return o.Set("name", "y") },
			`{"First":1.0e+2,"Name":"y","Big":12345678901234567890,"Unknown":{ "z" : [ 1 ] }}`,
		},
		{
			"a new member comes last",
			func(o *rawjson.Object) error { return o.Set("Node", map[string]int{"Cpus": 4}) },
			`{"First":1.0e+2,"Name":"x","Big":12345678901234567890,"Unknown":{ "z" : [ 1 ] },"Node":{"Cpus":4}}`,
		},
		{
			"a deleted member is gone, whatever its case",
			func(o *rawjson.Object) error { o.Delete("BIG"); o.Delete("first"); o.Delete("unknown"); return nil },
			`{"Name":"x"}`,
		},
		{
			"HTML is not escaped",
			func(o *rawjson.Object) error { return o.Set("Name", "a<b>&c") },
			`{"First":1.0e+2,"Name":"a<b>&c","Big":12345678901234567890,"Unknown":{ "z" : [ 1 ] }}`,
		},
		{
			"a raw message is taken as it is",
			func(o *rawjson.Object) error { return o.Set("Unknown", json.RawMessage("\t[ 1.50 ]\n")) },
			`{"First":1.0e+2,"Name":"x","Big":12345678901234567890,"Unknown":[ 1.50 ]}`,
		},
		{
			"nothing is null",
			func(o *rawjson.Object) error {
				o.SetRaw("First", nil)
				return o.Set("Name", json.RawMessage(nil))
			},
			`{"First":null,"Name":null,"Big":12345678901234567890,"Unknown":{ "z" : [ 1 ] }}`,
		},
		{
			"a nested object is edited and set again",
			func(o *rawjson.Object) error {
				nested, err := o.Object("unknown")
				if err != nil {
					return err
				}
				if err := nested.Set("y", true); err != nil {
					return err
				}
				return o.Set("unknown", nested)
			},
			`{"First":1.0e+2,"Name":"x","Big":12345678901234567890,"Unknown":{"z":[ 1 ],"y":true}}`,
		},
		{
			"an object given by value is not lost",
			func(o *rawjson.Object) error {
				var nested rawjson.Object
				nested.SetRaw("n", json.RawMessage("1.0"))
				return o.Set("Unknown", nested)
			},
			`{"First":1.0e+2,"Name":"x","Big":12345678901234567890,"Unknown":{"n":1.0}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := parse(t, text)
			if err := tc.edit(o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(o.Bytes())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestObject_editsLeaveTheInputAndItsClonesAlone(t *testing.T) {
	const text = `{"a":1,"b":2,"c":3}`
	data := []byte(text)
	o, err := rawjson.ParseObject(data)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Clone()
	o.Delete("a")
	o.SetRaw("b", json.RawMessage(`"a longer value"`))
	if got := string(c.Bytes()); got != text {
		t.Errorf("the clone became %s", got)
	}
	if string(data) != text {
		t.Errorf("the input became %s", data)
	}
}

func TestObject_zeroValueIsEmpty(t *testing.T) {
	var o rawjson.Object
	if got := string(o.Bytes()); got != "{}" {
		t.Errorf("got %s, want {}", got)
	}
	if err := o.Set("ключ\"\n", 1); err != nil {
		t.Fatal(err)
	}
	if err := o.Set("КЛЮЧ\"\n", 2); err != nil {
		t.Fatal(err)
	}
	if got, want := string(o.Bytes()), `{"ключ\"\n":2}`; got != want || o.Len() != 1 {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecode_tellsWhetherTheMemberIsThere(t *testing.T) {
	o := parse(t, `{"Labels":{"a":"1"},"Bad":"x"}`)
	labels := map[string]string{}
	if found, err := o.Decode("labels", &labels); !found || err != nil || labels["a"] != "1" {
		t.Errorf("Decode(labels) = %v, %v, %v", labels, found, err)
	}
	n := 7
	if found, err := o.Decode("absent", &n); found || err != nil || n != 7 {
		t.Errorf("Decode(absent) = %v, %v, %v", n, found, err)
	}
	_, err := o.Decode("bad", &n)
	wantError(t, err, `decode "bad": json: cannot unmarshal string`)
}

func TestObject_nested(t *testing.T) {
	o := parse(t, `{"Null":null,"Text":"x","Twice":{"a":1,"A":2}}`)
	for _, key := range []string{"null", "absent"} {
		nested, err := o.Object(key)
		if err != nil || nested.Len() != 0 {
			t.Errorf("Object(%s) = %v, %v", key, nested, err)
		}
	}
	_, err := o.Object("Text")
	wantError(t, err, `decode "Text": expected a JSON object, found a string`)
	_, err = o.Object("Twice")
	wantError(t, err, `decode "Twice": duplicate key: "a" and "A"`)
}

func TestSet_refusesWhatIsNoJSON(t *testing.T) {
	o := parse(t, `{"a":1}`)
	wantError(t, o.Set("a", json.RawMessage(`{"b":`)), `encode "a": not valid JSON`)
	wantError(t, o.Set("a", make(chan int)), `encode "a": json: unsupported type`)
	if got := string(o.Bytes()); got != `{"a":1}` {
		t.Errorf("a failed Set left %s", got)
	}
}

func TestMarshalJSON_fitsIntoEncodingJSON(t *testing.T) {
	o := parse(t, `{"n":1.0}`)
	o.SetRaw("m", json.RawMessage("2"))
	got, err := json.Marshal(map[string]any{"o": o})
	if err != nil || string(got) != `{"o":{"n":1.0,"m":2}}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestKeys_areDecodedAndInOrder(t *testing.T) {
	o := parse(t, `{"b":1,"a":{"c":2},"\u0049mage":3}`)
	if err := o.Set("d", 4); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "a", "Image", "d"}, o.Keys()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
