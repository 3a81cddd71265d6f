package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Entry is the address of one engine, "host:port" or "unix:///path". What
// [ParseEntries] and [Builder] return has been checked for its form.
type Entry string

func (e Entry) String() string { return string(e) }

// Entries are addresses in the order of their source, each once.
type Entries []Entry

// Diff returns which entries old lacks, in the order of e, and which are only
// in old, in its order. That an entry moved is no difference.
func (e Entries) Diff(old Entries) (added, removed Entries) {
	return e.minus(old), old.minus(e)
}

func (e Entries) minus(other Entries) Entries {
	there := make(map[Entry]bool, len(other))
	for _, entry := range other {
		there[entry] = true
	}
	var rest Entries
	for _, entry := range e {
		if !there[entry] {
			rest = append(rest, entry)
		}
	}
	return rest
}

// ParseEntries reads a list of addresses and ranges of addresses between
// commas. Blank items are skipped and entries named twice are listed once.
func ParseEntries(list string) (Entries, error) {
	var b Builder
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if err := b.Add(item); err != nil {
			return nil, err
		}
	}
	return b.Entries(), nil
}

// ParseAddress checks the address of one engine as all others may reach it:
// host:port, written as it will be listed. It takes no range, which could name any
// number of engines, and no socket, which each reader would look for on its own
// machine.
func ParseAddress(text string) (Entry, error) {
	notOne := fmt.Errorf("%q is not host:port, the address of one engine", text[:min(len(text), 64)])
	if strings.Contains(text, "[") {
		// What is no IPv6 address here is a range, and may be a long one.
		if _, err := netip.ParseAddrPort(text); err != nil {
			return "", notOne
		}
	}
	entries, err := ParseEntries(text)
	switch {
	case err != nil:
		return "", err
	case len(entries) != 1 || string(entries[0]) != text || strings.HasPrefix(text, "unix://"):
		return "", notOne
	}
	return entries[0], nil
}

// Builder gathers entries item by item, in order and without duplicates. The
// zero Builder is empty and ready to use.
type Builder struct {
	entries Entries
	seen    map[Entry]bool
	// read counts the addresses that were looked at, duplicates and bad ones
	// included: it bounds the work that a short text of ranges can make.
	read int
}

// Add adds the entries an item stands for: an address, or several if numeric
// ranges like [1:20] stand in it. If it fails, none of them is added.
func (b *Builder) Add(item string) error {
	p, err := parsePattern(item)
	if err != nil {
		return err
	}
	if p.count > MaxEntries-b.read {
		return tooMany(item)
	}
	entries := make(Entries, 0, p.count)
	for text := range p.texts() {
		b.read++
		entry, err := parseEntry(text)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	if b.seen == nil {
		b.seen = make(map[Entry]bool, len(entries))
	}
	for _, entry := range entries {
		if !b.seen[entry] {
			b.seen[entry] = true
			b.entries = append(b.entries, entry)
		}
	}
	return nil
}

// AddAddress adds the address of one engine, as [ParseAddress] takes it.
func (b *Builder) AddAddress(text string) error {
	if _, err := ParseAddress(text); err != nil {
		return err
	}
	return b.Add(text)
}

// Entries returns what was added so far.
func (b *Builder) Entries() Entries { return slices.Clone(b.entries) }

// parseEntry checks an address that holds no ranges any more.
func parseEntry(text string) (Entry, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return "", fmt.Errorf("address %q: white space or unprintable characters in address", text)
	}
	if path, ok := strings.CutPrefix(text, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("address %s: the path of a socket must be absolute, as in unix:///run/docker.sock", text)
		}
		return Entry(text), nil
	}
	address := strings.TrimPrefix(text, "tcp://")
	if strings.Contains(address, "://") {
		return "", fmt.Errorf("address %s: write host:port or unix:///path", text)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", explainSplit(address, err)
	}
	if err := checkHost(host); err != nil {
		return "", fmt.Errorf("address %s: %w", text, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("address %s: the port must be a number from 1 to 65535", text)
	}
	return Entry(address), nil
}

func explainSplit(address string, err error) error {
	if before, after, found := strings.Cut(address, "["); found && before != "" {
		if end := strings.IndexByte(after, ']'); end >= 0 {
			after = after[:end+1]
		}
		return fmt.Errorf("address %s: [%s is no range of numbers, which looks like [1:20]", address, after)
	}
	var addrErr *net.AddrError
	if errors.As(err, &addrErr) && addrErr.Err == "missing port in address" {
		// The most frequent mistake by far is a bare token or cluster name.
		return fmt.Errorf("%w, please check you are using the correct discovery (missing token:// ?)", err)
	}
	return err
}

func checkHost(host string) error {
	switch {
	case host == "":
		return errors.New("missing host in address")
	case strings.ContainsAny(host, `/\?#@"'<>[]`):
		return fmt.Errorf("%q is not the name or IP address of a host", host)
	case strings.Contains(host, ":"):
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q is not an IPv6 address", host)
		}
	}
	return nil
}
