package discovery

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// What one list may hold. A range is a few bytes that stand for many entries,
// so the product has to be known before it is made.
const (
	// MaxEntries is the number of entries up to which a list is accepted.
	MaxEntries = 10_000

	// maxItem is the length of an item in bytes: a DNS name has at most 253, a
	// socket's path 107.
	maxItem = 1024
)

// part is a literal text and the range that follows it.
type part struct {
	before      string
	first, last uint64
}

// pattern is an item with its ranges, in order, and the literal text behind
// the last one.
type pattern struct {
	item  string
	parts []part
	rest  string
	count int // how many texts it stands for, at most MaxEntries
}

func parsePattern(item string) (pattern, error) {
	if len(item) > maxItem {
		return pattern{}, fmt.Errorf("address %q…: longer than %d bytes", item[:64], maxItem)
	}
	parts, rest, err := cutRanges(item)
	if err != nil {
		return pattern{}, err
	}
	count := uint64(1)
	for _, p := range parts {
		// last-first+1 would overflow for the range of all numbers.
		width := p.last - p.first
		if width >= MaxEntries || count*(width+1) > MaxEntries {
			return pattern{}, tooMany(item)
		}
		count *= width + 1
	}
	return pattern{item: item, parts: parts, rest: rest, count: int(count)}, nil
}

// texts yields one text for each combination of the numbers in the ranges, the
// last range running fastest.
func (p pattern) texts() iter.Seq[string] {
	return func(yield func(string) bool) { p.from(0, "", yield) }
}

// from goes through the ranges from the i-th on, behind what stands before.
func (p pattern) from(i int, before string, yield func(string) bool) bool {
	if i == len(p.parts) {
		return yield(before + p.rest)
	}
	part := p.parts[i]
	for k := range part.last - part.first + 1 {
		if !p.from(i+1, before+part.before+strconv.FormatUint(part.first+k, 10), yield) {
			return false
		}
	}
	return true
}

func tooMany(item string) error {
	return fmt.Errorf("address %s: more than %d engines in one list", item, MaxEntries)
}

// cutRanges splits item at its ranges. Brackets around anything else than two
// numbers and a colon are no range: so IPv6 addresses stay whole.
func cutRanges(item string) (parts []part, rest string, err error) {
	begin := 0 // of the literal text
	for i := 0; i < len(item); i++ {
		if item[i] != '[' {
			continue
		}
		inner, _, closed := strings.Cut(item[i+1:], "]")
		from, to, colon := strings.Cut(inner, ":")
		if !closed || !colon || !isNumber(from) || !isNumber(to) {
			continue
		}
		p := part{before: item[begin:i]}
		if p.first, err = strconv.ParseUint(from, 10, 64); err == nil {
			p.last, err = strconv.ParseUint(to, 10, 64)
		}
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("address %s: a number in the range [%s] is too large", item, inner)
		case p.last < p.first:
			return nil, "", fmt.Errorf("address %s: the range [%s] ends before it begins", item, inner)
		}
		parts = append(parts, p)
		i += len(inner) + 1 // now at the closing bracket
		begin = i + 1
	}
	return parts, item[begin:], nil
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
