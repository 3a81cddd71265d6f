package placement

import (
	"errors"
	"regexp"
	"strings"
)

// pattern is the value of an expression, compiled. It is immutable and safe
// for concurrent use.
type pattern struct {
	value string
	re    *regexp.Regexp // of /re/; the rest is of a glob, or of a text, which is one without stars
	head  string         // what stands before the first star
	rest  []string       // what stands after each star
}

var errEmptyRegexp = errors.New("the regular expression is empty")

// compile reads value as /re/ (a Go regular expression, matched anywhere), as
// a glob if it has a star in it (matched as a whole, no other character is
// special), or else as the text itself. A lone slash is such a text.
func compile(value string) (*pattern, error) {
	if !isRegexp(value) {
		parts := strings.Split(value, "*")
		return &pattern{value: value, head: parts[0], rest: parts[1:]}, nil
	}
	source := value[1 : len(value)-1]
	if source == "" {
		return nil, errEmptyRegexp
	}
	re, err := regexp.Compile(source)
	if err != nil {
		return nil, err
	}
	return &pattern{value: value, re: re}, nil
}

func isRegexp(value string) bool {
	return len(value) >= 2 && value[0] == '/' && value[len(value)-1] == '/'
}

// literal reports whether the pattern is a text, and only that text matches.
func (p *pattern) literal() bool { return p.re == nil && len(p.rest) == 0 }

// match reports whether s matches. Most values fail by the head, and no further
// call is made for them.
func (p *pattern) match(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	return strings.HasPrefix(s, p.head) && p.matchRest(s[len(p.head):])
}

func (p *pattern) matchRest(s string) bool {
	last := len(p.rest) - 1
	if last < 0 {
		return s == ""
	}
	s, ok := strings.CutSuffix(s, p.rest[last])
	if !ok {
		return false
	}
	for _, part := range p.rest[:last] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}
