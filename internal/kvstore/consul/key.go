package consul

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// longestKey is well below what Consul takes in a URL.
	longestKey = 2048
	// largestValue is the most that Consul keeps in one key (HTTP API, KV store).
	largestValue = 512 << 10
)

// checkKey refuses keys that would not come back as they were written: Consul
// gets them as the path of a URL, which proxies and servers tidy.
func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("consul: the key is empty: give a path like docker/swarm/nodes/NAME")
	case len(key) > longestKey:
		return fmt.Errorf("consul: the key %.40q... is longer than %d bytes: use a shorter path", key, longestKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("consul: the key %q is not UTF-8, in which Consul gives keys back: write it so", key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("consul: the key %q has an empty part or one of dots only: write names with single slashes between them", key)
		}
	}
	for _, r := range key {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("consul: the key %q has a control character: leave it out", key)
		}
	}
	return nil
}

func checkValue(key, value string) error {
	if len(value) > largestValue {
		return fmt.Errorf("consul: the value of %s is %d bytes long, Consul takes %d at most: make it shorter", key, len(value), largestValue)
	}
	return nil
}

// checkPrefix gives the prefix as Consul wants it: with a slash at the end, so
// that nodes is not also nodes-old, and without one for the whole store.
func checkPrefix(prefix string) (string, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return "", nil
	}
	if err := checkKey(prefix); err != nil {
		return "", err
	}
	return prefix + "/", nil
}
