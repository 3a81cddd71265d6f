package rawjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type member struct {
	token []byte // the name as it is spelled, quotes and escapes included
	value []byte // valid JSON without white space around it
	fold  uint32 // hash of the name; equal for names that differ in case only
	plain bool   // the name is what stands between the quotes, nothing to decode
}

// FNV-1a, 32 bits.
const (
	fnvOffset uint32 = 2166136261
	fnvPrime  uint32 = 16777619
)

func newMember(token, value []byte) member {
	m := member{token: token, value: value, plain: true}
	// FNV-1a over the upper-case name, as long as the name is plain ASCII.
	hash := fnvOffset
	for _, c := range token[1 : len(token)-1] {
		if c == '\\' || c >= utf8.RuneSelf {
			return foreignMember(token, value)
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		hash = (hash ^ uint32(c)) * fnvPrime
	}
	m.fold = hash
	return m
}

// foreignMember is newMember for a name with escapes or beyond ASCII.
func foreignMember(token, value []byte) member {
	m := member{token: token, value: value}
	name := m.name()
	m.plain = name == string(token[1:len(token)-1])
	m.fold = fnvOffset
	for _, c := range []byte(fold(name)) {
		m.fold = (m.fold ^ uint32(c)) * fnvPrime
	}
	return m
}

// name returns the member's name, decoded.
func (m *member) name() string {
	if m.plain {
		return string(m.token[1 : len(m.token)-1])
	}
	var name string
	// A valid string token always decodes; bytes that are not UTF-8 become
	// U+FFFD, as they do in the engine.
	if err := json.Unmarshal(m.token, &name); err != nil {
		panic(err)
	}
	return name
}

// fold maps names that encoding/json takes for the same field, and only those,
// to one string: each rune to the smallest that differs from it in case only.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}

func refuseDuplicates(members []member) error {
	if len(members) > 64 {
		return refuseDuplicatesOfMany(members)
	}
	for i := range members {
		for j := range i {
			if members[i].fold == members[j].fold {
				a, b := members[j].name(), members[i].name()
				if strings.EqualFold(a, b) {
					return duplicate(a, b)
				}
			}
		}
	}
	return nil
}

// refuseDuplicatesOfMany keeps a hostile body with a million keys from costing
// a million times a million comparisons.
func refuseDuplicatesOfMany(members []member) error {
	seen := make(map[string]string, len(members))
	for i := range members {
		name := members[i].name()
		key := fold(name)
		if other, ok := seen[key]; ok {
			return duplicate(other, name)
		}
		seen[key] = name
	}
	return nil
}

func duplicate(a, b string) error {
	if a == b {
		return fmt.Errorf("duplicate key %q", a)
	}
	return fmt.Errorf("duplicate key: %q and %q name the same field", a, b)
}
