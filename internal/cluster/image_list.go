package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// ImageListOptions choose images for a list.
type ImageListOptions struct {
	All     bool // the steps that images were built in, too
	Filters apifilter.Args
	Version apiversion.Version
	// SharedSize and Manifests ask for what inventories do not hold: each
	// engine is asked then.
	SharedSize, Manifests bool
}

// ListImages gives the images of all engines that answer as a JSON array, the
// newest first. An image that several engines have stands there once.
func (c *Cluster) ListImages(ctx context.Context, o ImageListOptions) ([]byte, error) {
	match, err := c.newImageMatch(o)
	if err != nil {
		return nil, err
	}
	var out []byte
	out = append(out, '[')
	for _, img := range c.mergedImages(ctx, o) {
		tags, digests, ok := match.matches(img)
		if !ok {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, img.entry(tags, digests, o.Version)...)
	}
	return append(out, ']', '\n'), nil
}

// mergedImages gives the images that the list is chosen from.
func (c *Cluster) mergedImages(ctx context.Context, o ImageListOptions) []*mergedImage {
	members := c.answering()
	byNode := o.Filters.Contains("node")
	if byNode {
		members = slices.DeleteFunc(members, func(m *member) bool { return !matchesNode(o.Filters, m.Engine) })
	}
	sets := make([]engine.ImageSet, len(members))
	for i, m := range members {
		sets[i] = m.Images()
	}
	if o.SharedSize || o.Manifests {
		return mergeImages(c.imagesNow(ctx, o, members, sets))
	}
	if byNode {
		return mergeImages(sets)
	}
	return c.images.of(sets)
}

// imagesNow asks the engines for their lists. Where one does not answer, its
// inventory does.
func (c *Cluster) imagesNow(ctx context.Context, o ImageListOptions, members []*member, known []engine.ImageSet) []engine.ImageSet {
	query := url.Values{"all": {"1"}}
	if o.SharedSize {
		query.Set("shared-size", "1")
	}
	if o.Manifests {
		query.Set("manifests", "1")
	}
	replies := ask(ctx, members, answerTimeout, func(ctx context.Context, m *member) (engine.ImageSet, error) {
		var body []byte
		err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/images/json", Query: query, Version: o.Version}, nil, &body)
		if err != nil {
			return engine.ImageSet{}, err
		}
		return decodeImages(body)
	})
	for i, r := range replies {
		if r.err != nil {
			c.cfg.Logger.Warn("sizes and manifests of images are missing", "engine", r.from.Name(), "err", r.err)
			continue
		}
		known[i] = r.value
	}
	return known
}

func decodeImages(body []byte) (engine.ImageSet, error) {
	raws, err := rawjson.Split(body)
	if err != nil {
		return engine.ImageSet{}, err
	}
	images := make([]*engine.Image, len(raws))
	for i, raw := range raws {
		images[i] = &engine.Image{Raw: raw}
		if err := json.Unmarshal(raw, images[i]); err != nil {
			return engine.ImageSet{}, err
		}
	}
	return engine.NewImageSet(images), nil
}

// mergedImage is an image as all engines that have it list it.
type mergedImage struct {
	*engine.Image          // in the words of the first engine that has it
	tags, digests []string // of all engines, without those that say <none>
	// leaf says that no other image was built from it, on some engine at least.
	leaf bool
}

// mergeImages joins the lists of engines by image ID, the newest image first.
func mergeImages(sets []engine.ImageSet) []*mergedImage {
	byID := map[string]*mergedImage{}
	for _, set := range sets {
		parents := parentsIn(set)
		for _, img := range set.All {
			m := byID[img.ID]
			if m == nil {
				m = &mergedImage{Image: img}
				byID[img.ID] = m
			}
			m.tags = withNames(m.tags, img.RepoTags)
			m.digests = withNames(m.digests, img.RepoDigests)
			m.leaf = m.leaf || !parents[img.ID]
		}
	}
	merged := make([]*mergedImage, 0, len(byID))
	for _, m := range byID {
		merged = append(merged, m)
	}
	slices.SortFunc(merged, func(a, b *mergedImage) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(a.ID, b.ID))
	})
	return merged
}

// parentsIn gives the images that others of the set were built from; nil for
// none, as is usual where nothing is built.
func parentsIn(set engine.ImageSet) (parents map[string]bool) {
	for _, img := range set.All {
		if img.ParentID != "" {
			if parents == nil {
				parents = map[string]bool{}
			}
			parents[img.ParentID] = true
		}
	}
	return parents
}

func withNames(names, more []string) []string {
	for _, n := range more {
		if !strings.HasPrefix(n, "<none>") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Versions at which the list changed its words.
var (
	noneAsEmpty   = apiversion.Version{Major: 1, Minor: 43} // before: <none> where there is no name
	noVirtualSize = apiversion.Version{Major: 1, Minor: 44} // before: VirtualSize, the same as Size
)

// entry is the image's entry for the list with these names, which mostly is
// what its engine wrote.
func (i *mergedImage) entry(tags, digests []string, v apiversion.Version) []byte {
	if len(tags)+len(digests) == 0 && v.Less(noneAsEmpty) {
		tags, digests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	addSize := v.Less(noVirtualSize) && !bytes.Contains(i.Raw, []byte(`"VirtualSize"`))
	sameTags, sameDigests := slices.Equal(tags, i.RepoTags), slices.Equal(digests, i.RepoDigests)
	if sameTags && sameDigests && !addSize {
		return i.Raw
	}
	o, err := rawjson.ParseObject(i.Raw)
	if err != nil { // an engine's list was split into valid objects before
		return i.Raw
	}
	if !sameTags {
		must(o.Set("RepoTags", append([]string{}, tags...)))
	}
	if !sameDigests {
		must(o.Set("RepoDigests", append([]string{}, digests...)))
	}
	if addSize {
		must(o.Set("VirtualSize", i.Size))
	}
	return o.Bytes()
}

// imageCache keeps the last merge for as long as no engine's images change.
type imageCache struct {
	mu     sync.Mutex
	sets   []engine.ImageSet // that merged was made of; guarded by mu
	merged []*mergedImage    // guarded by mu; replaced, never changed
}

func (x *imageCache) of(sets []engine.ImageSet) []*mergedImage {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.merged == nil || !slices.EqualFunc(sets, x.sets, sameSet) {
		x.sets, x.merged = sets, mergeImages(sets)
	}
	return x.merged
}

// sameSet says that both are the same answer of an engine: sets never change,
// and one that is kept is not overwritten by another.
func sameSet(a, b engine.ImageSet) bool {
	return len(a.All) == len(b.All) && (len(a.All) == 0 || &a.All[0] == &b.All[0])
}
