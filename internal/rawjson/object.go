package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Object is one JSON object: its members in order, their values as raw bytes.
// The zero Object is empty and ready to use. An Object may be read by many
// goroutines at once, and changed by one.
type Object struct {
	// No two members have names that fold to the same: ParseObject refuses
	// them, and SetRaw replaces.
	members []member

	// source is what was parsed, nil once the object was changed: an untouched
	// object is written back byte for byte.
	source []byte
}

// ParseObject reads one JSON object and nothing after it but white space.
// Two members whose names encoding/json would take for the same struct field
// are an error that names both.
//
// The Object refers to data, which must not be changed from now on.
func ParseObject(data []byte) (*Object, error) {
	if err := validate(data); err != nil {
		return nil, err
	}
	return parseValid(data)
}

// parseValid is ParseObject for data that has been validated.
func parseValid(data []byte) (*Object, error) {
	s := scanner{data: data}
	s.space()
	if data[s.pos] != '{' {
		return nil, fmt.Errorf("expected a JSON object, found %s", kindOf(data[s.pos]))
	}

	// Most objects fit here, so that their members are allocated once and at
	// the right size. Two spare ones: an edit seldom adds more.
	var few [32]member
	members := s.object(few[:0])
	if err := refuseDuplicates(members); err != nil {
		return nil, err
	}
	return &Object{
		members: append(make([]member, 0, len(members)+2), members...),
		source:  data,
	}, nil
}

// Len returns the number of members.
func (o *Object) Len() int { return len(o.members) }

// Keys returns the members' names, decoded, in order.
func (o *Object) Keys() []string {
	keys := make([]string, len(o.members))
	for i := range o.members {
		keys[i] = o.members[i].name()
	}
	return keys
}

// Members gives the members in order: their names as they are spelled, with
// quotes and escapes, and their raw values. Neither must be changed in place.
func (o *Object) Members() iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		for i := range o.members {
			if !yield(o.members[i].token, o.members[i].value) {
				return
			}
		}
	}
}

// Get returns the raw value of key. Like encoding/json it prefers the exact
// spelling and then ignores case. The value must not be changed in place.
func (o *Object) Get(key string) (json.RawMessage, bool) {
	if i := o.index(key); i >= 0 {
		return o.members[i].value, true
	}
	return nil, false
}

// Decode decodes the value of key into what into points at, which stays as it
// is when there is no such member.
func (o *Object) Decode(key string, into any) (found bool, err error) {
	raw, found := o.Get(key)
	if !found {
		return false, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return true, fmt.Errorf("decode %q: %w", key, err)
	}
	return true, nil
}

// Object parses the value of key as an object of its own. An absent or null
// member gives an empty one. Changes to it reach o when it is Set again.
func (o *Object) Object(key string) (*Object, error) {
	raw, found := o.Get(key)
	if !found || string(raw) == "null" {
		return new(Object), nil
	}
	nested, err := ParseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("decode %q: %w", key, err)
	}
	return nested, nil
}

// Set gives key the JSON encoding of value, with <, > and & left as they are.
// A [json.RawMessage] is taken byte for byte, once it proves to be valid. A
// member that is there keeps its position and its spelling; a new one comes
// last.
func (o *Object) Set(key string, value any) error {
	raw, err := encode(value)
	if err != nil {
		return fmt.Errorf("encode %q: %w", key, err)
	}
	o.SetRaw(key, raw)
	return nil
}

// SetRaw is Set for a value that is known to be valid JSON, which is not
// checked again. An empty one becomes null.
func (o *Object) SetRaw(key string, raw json.RawMessage) {
	if raw = bytes.Trim(raw, whitespace); len(raw) == 0 {
		raw = json.RawMessage("null")
	}
	o.source = nil
	if i := o.index(key); i >= 0 {
		o.members[i].value = raw
		return
	}
	o.members = append(o.members, newMember(quote(key), raw))
}

// Delete removes key if it is there.
func (o *Object) Delete(key string) {
	if i := o.index(key); i >= 0 {
		o.source = nil
		o.members = slices.Delete(o.members, i, i+1)
	}
}

// Clone returns an Object that can be changed without changing o.
func (o *Object) Clone() *Object {
	return &Object{members: slices.Clone(o.members), source: o.source}
}

// Bytes returns the object as JSON: the very bytes that were parsed if nothing
// was changed since, so they must not be changed in place.
func (o *Object) Bytes() []byte {
	if o.source != nil {
		return o.source
	}
	size := len("{}")
	for i := range o.members {
		size += len(o.members[i].token) + len(o.members[i].value) + len(":,")
	}
	out := append(make([]byte, 0, size), '{')
	for i := range o.members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, o.members[i].token...)
		out = append(out, ':')
		out = append(out, o.members[i].value...)
	}
	return append(out, '}')
}

// MarshalJSON implements [json.Marshaler] with the bytes of [Object.Bytes].
// Mind that json.Marshal compacts and HTML-escapes them; Set does not. The
// receiver is a value, so that an Object given by value is not lost as {}.
func (o Object) MarshalJSON() ([]byte, error) { return o.Bytes(), nil }

func (o *Object) index(key string) int {
	for i := range o.members {
		if m := &o.members[i]; m.plain && string(m.token[1:len(m.token)-1]) == key {
			return i
		}
	}
	// At most one member folds to key, so that "exact first" needs no more care.
	for i := range o.members {
		if strings.EqualFold(o.members[i].name(), key) {
			return i
		}
	}
	return -1
}

// encode is json.Marshal without HTML escaping.
func encode(value any) (json.RawMessage, error) {
	switch v := value.(type) {
	case json.RawMessage:
		if len(v) > 0 && !json.Valid(v) {
			return nil, errors.New("not valid JSON")
		}
		return v, nil
	case *Object:
		if v != nil {
			return v.Bytes(), nil
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func quote(key string) []byte {
	raw, err := encode(key)
	if err != nil {
		panic(err) // a string always has an encoding
	}
	return bytes.TrimSuffix(raw, []byte("\n"))
}
