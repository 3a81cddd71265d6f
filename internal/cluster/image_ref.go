package cluster

import (
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/skep/skep/internal/engine"
)

// imageRef is what a user calls an image, read once for all engines.
type imageRef struct {
	given    string
	familiar string // "busybox:latest" or "busybox@sha256:…", as engines list it; "" when it cannot be a name
	idPrefix string // "sha256:…" as far as given; "" when it cannot be an ID
}

func parseImageRef(s string) imageRef {
	ref := imageRef{given: s}
	hex := strings.TrimPrefix(s, "sha256:")
	if hex != "" && len(hex) <= fullID && strings.Trim(hex, "0123456789abcdef") == "" {
		ref.idPrefix = "sha256:" + hex
	}
	if len(hex) == fullID {
		return ref
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return ref
	}
	ref.familiar = familiarName(named)
	return ref
}

// familiarName writes a reference as engines list it. A digest says all: a tag
// beside it is dropped, as the engine does.
func familiarName(named reference.Named) string {
	if digested, ok := named.(reference.Digested); ok {
		if only, err := reference.WithDigest(reference.TrimNamed(named), digested.Digest()); err == nil {
			return reference.FamiliarString(only)
		}
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// in gives the image of set that is meant, or nil: a name goes before the
// beginning of an ID.
func (r imageRef) in(set engine.ImageSet) *engine.Image {
	if img := r.byName(set); img != nil {
		return img
	}
	return r.byID(set)
}

func (r imageRef) byName(set engine.ImageSet) *engine.Image {
	if r.familiar == "" {
		return nil
	}
	return set.ByRef(r.familiar)
}

// byID gives the image whose ID begins as given, nil if that is none or many.
func (r imageRef) byID(set engine.ImageSet) *engine.Image {
	if r.idPrefix == "" {
		return nil
	}
	if img := set.ByID(r.idPrefix); img != nil {
		return img
	}
	var found *engine.Image
	for _, img := range set.All {
		if strings.HasPrefix(img.ID, r.idPrefix) {
			if found != nil {
				return nil
			}
			found = img
		}
	}
	return found
}

// holder is an engine that has an image.
type holder struct {
	*member
	image *engine.Image
}

// holders gives the engines, of those that answer, which have the image. A name
// that one of them knows goes before the beginning of an ID on another.
func (c *Cluster) holders(ref imageRef) []holder {
	answering := c.answering()
	if found := holdersBy(answering, ref.byName); len(found) > 0 {
		return found
	}
	return holdersBy(answering, ref.byID)
}

func holdersBy(members []*member, find func(engine.ImageSet) *engine.Image) []holder {
	var out []holder
	for _, m := range members {
		if img := find(m.Images()); img != nil {
			out = append(out, holder{m, img})
		}
	}
	return out
}

// findImage gives the engines that have the image, at least one unless there
// is an error, and what to call it there: the name as it was given, since an
// engine treats a tag otherwise than an ID, or the whole ID.
func (c *Cluster) findImage(name string) (found []holder, sent string, err error) {
	ref := parseImageRef(name)
	found = c.holders(ref)
	if len(found) == 0 {
		return nil, "", noSuchImage(name)
	}
	if ref.byName(found[0].Images()) != nil {
		return found, name, nil
	}
	id := found[0].image.ID
	for _, h := range found {
		if h.image.ID != id {
			return nil, "", invalid("image ID %s is ambiguous: %s and %s begin so; give more of it", name, id, h.image.ID)
		}
	}
	return found, id, nil
}

// ImageHolders gives the engines that have an image, at least one unless there
// is an error, and what to call it there.
func (c *Cluster) ImageHolders(name string) (engines []*engine.Engine, sent string, err error) {
	found, sent, err := c.findImage(name)
	for _, h := range found {
		engines = append(engines, h.Engine)
	}
	return engines, sent, err
}

// HoldersOfAll gives the engines that have all of the images, at least one
// unless there is an error, and what to call the images there.
func (c *Cluster) HoldersOfAll(names []string) (engines []*engine.Engine, sent []string, err error) {
	count := map[*engine.Engine]int{}
	for _, name := range names {
		found, ref, err := c.findImage(name)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, nil, err
		}
		sent = append(sent, ref)
		for _, h := range found {
			count[h.Engine]++
		}
	}
	for _, m := range c.answering() {
		if count[m.Engine] == len(names) {
			engines = append(engines, m.Engine)
		}
	}
	if len(engines) == 0 {
		return nil, nil, fail(errdefs.ErrNotFound, "Unable to find a healthy engine containing all images: %v", names)
	}
	return engines, sent, nil
}

// PushHolders gives the engines that have what is to be pushed: a name with a
// tag or, without one, all that is called so. Those that have most of it come
// first. There is at least one unless there is an error.
func (c *Cluster) PushHolders(name, tag string) ([]*engine.Engine, error) {
	pushed := name
	if tag != "" {
		pushed += ":" + tag
	}
	wanted := parseImageRef(pushed).familiar
	all := withoutTag(pushed) == pushed && !strings.Contains(pushed, "@")
	count := map[*engine.Engine]int{}
	var engines []*engine.Engine
	for _, m := range c.answering() {
		count[m.Engine] = countNames(m.Images(), func(name string) bool {
			return name == wanted || all && withoutTag(name) == withoutTag(wanted)
		})
		if count[m.Engine] > 0 {
			engines = append(engines, m.Engine)
		}
	}
	if len(engines) == 0 || wanted == "" {
		return nil, noSuchImage(pushed)
	}
	slices.SortStableFunc(engines, func(a, b *engine.Engine) int { return count[b] - count[a] })
	return engines, nil
}

func countNames(set engine.ImageSet, is func(string) bool) (n int) {
	for _, img := range set.All {
		for _, name := range img.RepoTags {
			if is(name) {
				n++
			}
		}
	}
	return n
}

func noSuchImage(name string) error { return fail(errdefs.ErrNotFound, "No such image: %s", name) }

// descendants gives the IDs of the named images and of all that were built
// from them, over all engines.
func (c *Cluster) descendants(names []string) map[string]bool {
	ids := map[string]bool{}
	for _, name := range names {
		ref := parseImageRef(name)
		for _, m := range c.all() {
			set := m.Images()
			if img := ref.in(set); img != nil {
				addDescendants(set, img.ID, ids)
			}
		}
	}
	return ids
}

func addDescendants(set engine.ImageSet, root string, ids map[string]bool) {
	children := map[string][]string{}
	for _, img := range set.All {
		if img.ParentID != "" {
			children[img.ParentID] = append(children[img.ParentID], img.ID)
		}
	}
	seen := map[string]bool{} // on this engine; an image may name itself its parent
	for next := []string{root}; len(next) > 0; {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if !seen[id] {
			seen[id], ids[id] = true, true
			next = append(next, children[id]...)
		}
	}
}
