package cluster

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skep/skep/internal/apifilter"
)

// imageFilters are the filters of `docker images`, and node.
var imageFilters = []string{"before", "dangling", "label", "label!", "node", "reference", "since", "until"}

// imageMatch is a list's options, resolved and ready to be asked of each image.
type imageMatch struct {
	all          bool
	filters      apifilter.Args
	patterns     []string // of references
	dangling     *bool
	older, newer int64 // bounds of Created, not included; 0 for none
}

func (c *Cluster) newImageMatch(o ImageListOptions) (*imageMatch, error) {
	f := o.Filters
	if err := f.Validate(imageFilters...); err != nil {
		return nil, err
	}
	m := &imageMatch{all: o.All, filters: f, patterns: f.Get("reference")}
	for _, p := range m.patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, invalid("invalid filter 'reference=%s': %v", p, err)
		}
	}
	if f.Contains("dangling") {
		is, err := f.GetBool("dangling", false)
		if err != nil {
			return nil, err
		}
		m.dangling = &is
	}
	return m, c.boundImages(m)
}

// boundImages reads before, since and until. Of several, all must hold.
func (c *Cluster) boundImages(m *imageMatch) error {
	for _, name := range m.filters.Get("before") {
		created, err := c.imageCreated(name)
		if err != nil {
			return err
		}
		m.notBefore(created)
	}
	for _, text := range m.filters.Get("until") {
		until, err := moment(text, time.Now())
		if err != nil {
			return invalid("invalid filter 'until=%s': %v", text, err)
		}
		m.notBefore(until.Unix())
	}
	for _, name := range m.filters.Get("since") {
		created, err := c.imageCreated(name)
		if err != nil {
			return err
		}
		m.newer = max(m.newer, created)
	}
	return nil
}

// notBefore leaves out what was created at this time or later.
func (m *imageMatch) notBefore(created int64) {
	if m.older == 0 || created < m.older {
		m.older = created
	}
}

func (c *Cluster) imageCreated(name string) (int64, error) {
	found, _, err := c.findImage(name)
	if err != nil {
		return 0, err
	}
	return found[0].image.Created, nil
}

// matches says whether the image is asked for, and with which of its names:
// who asks for a reference is shown no other.
func (m *imageMatch) matches(i *mergedImage) (tags, digests []string, ok bool) {
	switch {
	case m.older != 0 && i.Created >= m.older,
		m.newer != 0 && i.Created <= m.newer,
		!m.filters.MatchLabels(i.Labels):
		return nil, nil, false
	}
	tags, digests = i.tags, i.digests
	if m.patterns != nil {
		tags, digests = m.referenced(tags), m.referenced(digests)
	}
	switch named := len(tags)+len(digests) > 0; {
	case m.patterns != nil && !named:
		return nil, nil, false
	case m.dangling != nil && *m.dangling:
		return tags, digests, i.leaf && len(i.tags) == 0
	case m.dangling != nil || named:
		return tags, digests, named
	default:
		// What has no name is a step of a build, or has lost its name to another.
		return tags, digests, m.all || i.leaf
	}
}

func (m *imageMatch) referenced(names []string) []string {
	var out []string
	for _, n := range names {
		if slices.ContainsFunc(m.patterns, func(p string) bool { return matchesReference(p, n) }) {
			out = append(out, n)
		}
	}
	return out
}

// matchesReference is reference.FamiliarMatch for a name that is in its
// familiar form, as engines list them: with its tag or without.
func matchesReference(pattern, name string) bool {
	if ok, _ := path.Match(pattern, name); ok {
		return true
	}
	name, _, _ = strings.Cut(name, "@")
	ok, _ := path.Match(pattern, withoutTag(name))
	return ok
}

// momentLayouts are the ways to write a time, besides seconds since 1970 and a
// duration that is past. Without a zone it is skep's own.
var momentLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02T15Z07:00", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02",
}

// moment reads a time as the until filter takes it.
func moment(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && text != "0" {
		return now.Add(-ago), nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Unix(int64(seconds), 0), nil
	}
	for _, layout := range momentLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, invalid("give a time as 2026-01-31T15:04:05, as seconds since 1970, or as a duration that is past, such as 24h")
}
