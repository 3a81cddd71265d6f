package rawjson

import (
	"bytes"
	"encoding/json"
)

const whitespace = " \t\r\n"

// validate returns encoding/json's own error, which tells the offset, if data
// is not exactly one JSON value.
func validate(data []byte) error {
	if json.Valid(data) {
		return nil
	}
	var ignored json.RawMessage
	return json.Unmarshal(data, &ignored)
}

// scanner finds where the parts of a JSON text begin and end. The text must
// have passed validate: with that behind it, it needs neither errors nor
// recursion, and it never runs past the end.
type scanner struct {
	data []byte
	pos  int
}

// object appends the members of the object that starts here.
func (s *scanner) object(members []member) []member {
	s.pos++ // {
	s.space()
	for s.data[s.pos] != '}' {
		token := s.value()
		s.space()
		s.pos++ // :
		s.space()
		members = append(members, newMember(token, s.value()))
		s.comma()
	}
	return members
}

// array returns the elements of the array that starts here.
func (s *scanner) array() []json.RawMessage {
	var elements []json.RawMessage
	s.pos++ // [
	s.space()
	for s.data[s.pos] != ']' {
		elements = append(elements, s.value())
		s.comma()
	}
	return elements
}

// comma skips to the next member or element, or to the closing bracket.
func (s *scanner) comma() {
	s.space()
	if s.data[s.pos] == ',' {
		s.pos++
		s.space()
	}
}

// space stops at the next byte that is not white space; there is one, because
// a valid text does not end before its value does.
func (s *scanner) space() {
	for {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// value returns the value that starts here and moves behind it. Its capacity
// is cut, so that an append to it cannot write into its neighbour.
func (s *scanner) value() []byte {
	start := s.pos
	switch s.data[s.pos] {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		s.skipScalar()
	}
	return s.data[start:s.pos:s.pos]
}

func (s *scanner) skipString() {
	s.pos++ // "
	for {
		s.pos += bytes.IndexByte(s.data[s.pos:], '"') + 1
		// The quote closes the string unless an odd number of backslashes
		// stands before it. The opening quote stops the count.
		i := s.pos - 2
		for s.data[i] == '\\' {
			i--
		}
		if (s.pos-2-i)%2 == 0 {
			return
		}
	}
}

func (s *scanner) skipNested() {
	for depth := 0; ; {
		switch s.data[s.pos] {
		case '"':
			s.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.pos++
		if depth == 0 {
			return
		}
	}
}

// skipScalar moves behind a number, true, false or null.
func (s *scanner) skipScalar() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return
		}
		s.pos++
	}
}

func kindOf(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
