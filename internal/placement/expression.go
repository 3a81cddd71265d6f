package placement

import (
	"regexp"
	"strings"
)

// Operator compares the values a node has with the value of an expression.
type Operator uint8

const (
	Equal    Operator = iota // == : a value matches
	NotEqual                 // != : no value matches
)

func (o Operator) String() string {
	if o == NotEqual {
		return "!="
	}
	return "=="
}

// Expression is one constraint or affinity: KEY==VALUE or KEY!=VALUE, with a ~
// before the value if it is only a wish. The value is a /regular expression/,
// a glob in which * stands for anything, or a plain text.
//
// Make it with [ParseExpression]. One made by hand works too, but its value is
// compiled anew by every [Policy.Place], which fails if it cannot be.
type Expression struct {
	Key      string
	Operator Operator
	Value    string // without the ~
	Soft     bool   // preferred, not required

	pattern *pattern // of Value; nil or of another value if the expression was made or changed by hand
}

// The shapes of standalone Swarm (specs/classic-swarm.md, section 7), with two
// additions: a key may be one character long, and a value may hold the @ that
// stands before an image's digest. Upper case is spelled out because (?i) lets
// in letters from outside ASCII.
var (
	keyShape   = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9\-_.]*$`)
	valueShape = regexp.MustCompile(`^[=!/]?~?[a-zA-Z0-9:\-_\s.*/()?+\[\]\\^$|@]+$`)
)

// ParseExpression reads an expression such as "rack==~a*" or "node!=/n[12]/".
// What it refuses, a bad regular expression too, it refuses with an
// [*ExpressionError].
func ParseExpression(s string) (Expression, error) {
	e, err := splitExpression(s)
	if err != nil {
		return Expression{}, err
	}
	if e.pattern, err = compile(e.Value); err != nil {
		return Expression{}, badRegexp(e, err)
	}
	return e, nil
}

// ParseExpressions reads each of ss and stops at the first that is wrong. It
// returns nil for none.
func ParseExpressions(ss []string) ([]Expression, error) {
	if len(ss) == 0 {
		return nil, nil
	}
	es := make([]Expression, len(ss))
	for i, s := range ss {
		e, err := ParseExpression(s)
		if err != nil {
			return nil, err
		}
		es[i] = e
	}
	return es, nil
}

// splitExpression takes s apart and checks the parts. It looks for == first:
// the first of "rack!==b" is then a wrong key, and not a comparison with "=b"
// that is always true.
func splitExpression(s string) (Expression, error) {
	e := Expression{Operator: Equal}
	key, value, ok := strings.Cut(s, Equal.String())
	if !ok {
		e.Operator = NotEqual
		key, value, ok = strings.Cut(s, NotEqual.String())
	}
	if !ok {
		return Expression{}, invalid(s, "One of operator ==, != is expected: write KEY==VALUE or KEY!=VALUE, with ~ after the operator if it is only a wish, instead of '"+clip(s, 100)+"'")
	}
	if !keyShape.MatchString(key) {
		return Expression{}, invalid(s, "Key '"+clip(key, 100)+"' is invalid: write a letter or _ first and then letters, digits, -, _ and . only, as in rack"+e.Operator.String()+"a")
	}
	if !valueShape.MatchString(value) {
		return Expression{}, invalid(s, "Value '"+clip(value, 100)+"' is invalid: write at least one character, and only letters, digits, spaces and : - _ . * / ( ) ? + [ ] \\ ^ $ | @ after the operator and its optional ~")
	}
	e.Key = key
	e.Value, e.Soft = strings.CutPrefix(value, "~")
	return e, nil
}

// String writes the expression as [ParseExpression] reads it.
func (e Expression) String() string {
	if e.Soft {
		return e.Key + e.Operator.String() + "~" + e.Value
	}
	return e.Key + e.Operator.String() + e.Value
}

// Equal reports whether both say the same.
func (e Expression) Equal(o Expression) bool {
	return e.Key == o.Key && e.Operator == o.Operator && e.Value == o.Value && e.Soft == o.Soft
}

// ready returns e with a pattern of its value as rewritten, compiling it only
// if that has not been done.
func (e Expression) ready(rewritten string) (Expression, error) {
	if e.pattern != nil && e.pattern.value == rewritten {
		return e, nil
	}
	p, err := compile(rewritten)
	if err != nil {
		return e, badRegexp(e, err)
	}
	e.pattern = p
	return e, nil
}

// ExpressionError says what is wrong with an expression and what to write
// instead. It is an invalid parameter (HTTP 400).
type ExpressionError struct {
	Expression string // as it was written
	text       string
}

func (e *ExpressionError) Error() string { return e.text }

// InvalidParameter marks the error for github.com/containerd/errdefs.
func (*ExpressionError) InvalidParameter() {}

func invalid(expression, text string) error {
	return &ExpressionError{Expression: expression, text: text}
}

func badRegexp(e Expression, err error) error {
	return invalid(e.String(), "Value '"+clip(e.Value, 100)+"' is invalid: "+clip(err.Error(), 100)+"; write a Go regular expression between the slashes, as in node==/web-[12]/")
}
