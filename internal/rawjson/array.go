package rawjson

import (
	"encoding/json"
	"fmt"
)

// Split returns the elements of a JSON array as raw bytes, without white space
// around them. `null` is an empty array, as it is for encoding/json. The
// elements refer to array, which must not be changed from now on.
func Split(array []byte) ([]json.RawMessage, error) {
	if err := validate(array); err != nil {
		return nil, err
	}
	s := scanner{data: array}
	s.space()
	switch c := array[s.pos]; c {
	case '[':
		return s.array(), nil
	case 'n':
		return nil, nil
	default:
		return nil, fmt.Errorf("expected a JSON array, found %s", kindOf(c))
	}
}

// ParseObjects parses a JSON array of objects. It is Split and ParseObject in
// one, and reads a long list in about half their time.
func ParseObjects(array []byte) ([]*Object, error) {
	elements, err := Split(array)
	if err != nil {
		return nil, err
	}
	objects := make([]*Object, len(elements))
	for i, element := range elements {
		// An element of a valid array is valid.
		if objects[i], err = parseValid(element); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return objects, nil
}

// Element is an element of an array of objects: its bytes, and what they mean,
// or why that cannot be told.
type Element struct {
	Raw    json.RawMessage
	Object *Object
	Err    error
}

// Elements is ParseObjects for those who want the others where one element is
// no object, or has a key twice.
func Elements(array []byte) ([]Element, error) {
	raws, err := Split(array)
	if err != nil {
		return nil, err
	}
	elements := make([]Element, len(raws))
	for i, raw := range raws {
		o, err := parseValid(raw)
		elements[i] = Element{Raw: raw, Object: o, Err: err}
	}
	return elements, nil
}
