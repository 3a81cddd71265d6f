package apifilter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// MaxLength is the length in bytes up to which Parse accepts a parameter.
const MaxLength = 64 << 10

// Args are the filters of one request: keys, each with a set of values. They
// never change once made, so many goroutines may use them at once. The zero
// Args filter nothing.
type Args struct {
	terms map[string][]*term // each slice in the order of its values
}

// New makes Args of pairs "key=value", as the CLI's --filter takes them. A
// pair without "=" is a key whose value is empty.
func New(pairs ...string) Args {
	values := make(map[string][]string)
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		values[key] = append(values[key], value)
	}
	return fromValues(values)
}

// Parse reads the parameter in its present form, {"key":{"value":true}}, or
// its former one, {"key":["value"]}. An empty string filters nothing. A value
// counts whether it is said to be true or false.
func Parse(s string) (Args, error) {
	if s == "" {
		return Args{}, nil
	}
	if len(s) > MaxLength {
		return Args{}, invalid("invalid filter: longer than %d bytes", MaxLength)
	}
	values := make(map[string][]string)
	var present map[string]map[string]bool
	if err := json.Unmarshal([]byte(s), &present); err == nil {
		for key, set := range present {
			values[key] = nil
			// Engines ignore what the boolean says; to drop a value would
			// widen what a prune removes.
			for value := range set {
				values[key] = append(values[key], value)
			}
		}
		return fromValues(values), nil
	}
	// What the failed attempt left behind in present is not to be used.
	if err := json.Unmarshal([]byte(s), &values); err != nil {
		return Args{}, invalid("invalid filter")
	}
	return fromValues(values), nil
}

func fromValues(values map[string][]string) Args {
	if len(values) == 0 {
		return Args{}
	}
	terms := make(map[string][]*term, len(values))
	for key, list := range values {
		slices.Sort(list)
		list = slices.Compact(list)
		terms[key] = make([]*term, len(list))
		for i, value := range list {
			terms[key][i] = newTerm(value)
		}
	}
	return Args{terms: terms}
}

// Len returns the number of keys.
func (a Args) Len() int { return len(a.terms) }

// Contains tells whether key is given, with values or without.
func (a Args) Contains(key string) bool {
	_, ok := a.terms[key]
	return ok
}

// Get returns the values of key in ascending order, nil if there are none.
func (a Args) Get(key string) []string {
	var values []string
	for _, t := range a.terms[key] {
		values = append(values, t.text)
	}
	return values
}

// Keys returns the keys in ascending order.
func (a Args) Keys() []string { return slices.Sorted(maps.Keys(a.terms)) }

// Validate returns an error that names the first key that is not allowed.
func (a Args) Validate(allowed ...string) error {
	for _, key := range a.Keys() {
		if !slices.Contains(allowed, key) {
			return invalid("invalid filter '%s'", key)
		}
	}
	return nil
}

// With returns Args that have these values of key besides those of a.
func (a Args) With(key string, values ...string) Args {
	return fromValues(map[string][]string{key: append(a.Get(key), values...)}).union(a)
}

// Without returns Args that lack these keys.
func (a Args) Without(keys ...string) Args {
	kept := maps.Clone(a.terms)
	for _, key := range keys {
		delete(kept, key)
	}
	return Args{terms: kept}
}

// union adds the keys of b that a lacks. It is only for a that nobody else
// has seen.
func (a Args) union(b Args) Args {
	for key, terms := range b.terms {
		if _, ok := a.terms[key]; !ok {
			a.terms[key] = terms
		}
	}
	return a
}

// String returns the parameter in its present form, to be sent to an engine;
// it is empty if there is no key. Equal Args give equal strings.
func (a Args) String() string {
	if len(a.terms) == 0 {
		return ""
	}
	present := make(map[string]map[string]bool, len(a.terms))
	for key, terms := range a.terms {
		present[key] = make(map[string]bool, len(terms))
		for _, t := range terms {
			present[key][t.text] = true
		}
	}
	out, err := json.Marshal(present)
	if err != nil {
		panic(err) // maps of strings and booleans always have an encoding
	}
	return string(out)
}

func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}
