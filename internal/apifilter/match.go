package apifilter

import (
	"regexp"
	"strings"
	"sync"
)

// maxPattern is the length of a value above which it is no regular expression
// any more. Names and IDs are far shorter, and a compiled expression is many
// times larger than its text.
const maxPattern = 4 << 10

// term is one value of a key.
type term struct {
	text string
	// pattern compiles text at its first use and keeps the result: the same
	// Args meet tens of thousands of containers. It is nil if text is not a
	// regular expression.
	pattern func() *regexp.Regexp
}

func newTerm(text string) *term {
	return &term{text: text, pattern: sync.OnceValue(func() *regexp.Regexp {
		if len(text) > maxPattern {
			return nil
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return nil
		}
		return re
	})}
}

// ExactMatch tells whether source is a value of key. A key without values
// matches everything; so it is for all the other matches.
func (a Args) ExactMatch(key, source string) bool {
	return a.any(key, func(t *term) bool { return t.text == source })
}

// Match tells whether a value of key occurs in source or is a regular
// expression that matches it, as dockerd compares names and IDs.
func (a Args) Match(key, source string) bool {
	return a.any(key, func(t *term) bool {
		if strings.Contains(source, t.text) {
			return true
		}
		re := t.pattern()
		return re != nil && re.MatchString(source)
	})
}

// FuzzyMatch tells whether source begins with a value of key.
func (a Args) FuzzyMatch(key, source string) bool {
	return a.any(key, func(t *term) bool { return strings.HasPrefix(source, t.text) })
}

func (a Args) any(key string, match func(*term) bool) bool {
	terms := a.terms[key]
	for _, t := range terms {
		if match(t) {
			return true
		}
	}
	return len(terms) == 0
}

// MatchKVList tells whether all values of key, each "k" or "k=v", are in
// source.
func (a Args) MatchKVList(key string, source map[string]string) bool {
	for _, t := range a.terms[key] {
		k, v, hasValue := strings.Cut(t.text, "=")
		got, ok := source[k]
		if !ok || hasValue && got != v {
			return false
		}
	}
	return true
}

// MatchLabels applies the keys `label` and `label!` of the prune routes: every
// `label` must be there, and not every `label!`.
func (a Args) MatchLabels(labels map[string]string) bool {
	if !a.MatchKVList("label", labels) {
		return false
	}
	return !a.Contains("label!") || !a.MatchKVList("label!", labels)
}

// GetBool returns the truth of key, and dflt if key is not given. Values other
// than 1, true, 0 and false, or both truths at once, are an error.
func (a Args) GetBool(key string, dflt bool) (bool, error) {
	terms, ok := a.terms[key]
	if !ok {
		return dflt, nil
	}
	if len(terms) == 0 {
		return dflt, invalid("invalid filter '%s'", key)
	}
	var isTrue, isFalse bool
	for _, t := range terms {
		switch t.text {
		case "1", "true":
			isTrue = true
		case "0", "false":
			isFalse = true
		}
	}
	if isTrue == isFalse {
		return dflt, invalid("invalid filter '%s=%s'", key, a.Get(key))
	}
	return isTrue, nil
}
