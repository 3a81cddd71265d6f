package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"

	"github.com/skep/skep/internal/rawjson"
)

// mergeReplies makes one answer of those that came, and logs whose are missing.
// There must have been at least one engine to ask; if all have failed the
// first's error is returned.
func (c *Cluster) mergeReplies(incomplete string, replies []reply[*rawjson.Object]) ([]byte, error) {
	done, failed := split(replies)
	if len(done) == 0 {
		return nil, failed[0].err
	}
	if len(failed) > 0 {
		c.cfg.Logger.Warn(incomplete, "failed", explain(failed))
	}
	answers := make([]*rawjson.Object, len(done))
	for i, r := range done {
		answers[i] = r.value
	}
	merged, err := mergeAnswers(answers)
	if err != nil {
		return nil, err
	}
	return merged.Bytes(), nil
}

// mergeAnswers makes one answer of what several engines said to the same
// question, fields unknown to this version of skep included: lists are joined,
// numbers are added, null says nothing, and of all else the first word counts.
// It changes the first of answers and returns it; nil for none.
func mergeAnswers(answers []*rawjson.Object) (*rawjson.Object, error) {
	if len(answers) == 0 {
		return nil, nil
	}
	merged := answers[0]
	for _, key := range keysOf(answers) {
		values := make([]json.RawMessage, 0, len(answers))
		for _, a := range answers {
			if value, ok := a.Get(key); ok {
				values = append(values, value)
			}
		}
		value, err := mergeValues(values)
		if err != nil {
			return nil, fmt.Errorf("merge %q: %w", key, err)
		}
		merged.SetRaw(key, value)
	}
	return merged, nil
}

// keysOf gives the keys of all answers in the order in which they come first.
func keysOf(answers []*rawjson.Object) []string {
	var keys []string
	seen := map[string]bool{}
	for _, a := range answers {
		for _, key := range a.Keys() {
			if !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// mergeValues merges the values of one key; there is at least one. The first
// that is not null says what kind of value it is, and others are left out.
func mergeValues(values []json.RawMessage) (json.RawMessage, error) {
	for len(values) > 1 && string(values[0]) == "null" {
		values = values[1:]
	}
	switch c := values[0][0]; {
	case len(values) == 1:
		return values[0], nil
	case c == '[':
		return joinArrays(values)
	case c == '-' || '0' <= c && c <= '9':
		return addNumbers(values), nil
	default:
		return values[0], nil
	}
}

func joinArrays(arrays []json.RawMessage) (json.RawMessage, error) {
	var all []json.RawMessage
	for _, array := range arrays {
		if array[0] != '[' {
			continue
		}
		elements, err := rawjson.Split(array)
		if err != nil {
			return nil, err
		}
		all = append(all, elements...)
	}
	return joinRaw(all), nil
}

// joinRaw writes a JSON array of elements that are JSON already.
func joinRaw[T ~[]byte](elements []T) []byte {
	size := len("[]")
	for _, e := range elements {
		size += len(e) + len(",")
	}
	out := append(make([]byte, 0, size), '[')
	for i, e := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, bytes.TrimSpace(e)...)
	}
	return append(out, ']')
}

// addNumbers adds without loss as long as all are whole: sums of bytes may be
// beyond what a float64 can tell apart.
func addNumbers(numbers []json.RawMessage) json.RawMessage {
	sum, whole := new(big.Int), true
	var float float64
	for _, n := range numbers {
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil {
			continue // not a number, or null
		}
		float += f
		if i, ok := new(big.Int).SetString(string(n), 10); ok {
			sum.Add(sum, i)
		} else {
			whole = false
		}
	}
	if whole {
		return json.RawMessage(sum.String())
	}
	raw, err := json.Marshal(float)
	if err != nil { // beyond what JSON can write: infinite
		return numbers[0]
	}
	return raw
}
