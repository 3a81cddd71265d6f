package cluster

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// removeImageTimeout allows an engine the time to delete large layers.
const removeImageTimeout = 2 * time.Minute

// TagImage gives an image another name on every engine that has it.
func (c *Cluster) TagImage(ctx context.Context, name string, query url.Values, v apiversion.Version) error {
	found, sent, err := c.findImage(name)
	if err != nil {
		return err
	}
	replies := ask(ctx, membersOf(found), answerTimeout, func(ctx context.Context, m *member) (struct{}, error) {
		defer c.refreshed(ctx, "images", m.Engine, m.RefreshImages)
		return struct{}{}, m.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/images/" + sent + "/tag", Query: query, Version: v}, nil, nil)
	})
	done, failed := split(replies)
	return eachFailed(name, failed, namesOfReplies(done), "tagged")
}

// RemoveImage removes an image, or one of its names, from every engine that
// has it. It returns what they removed, each thing once. When some refuse, the
// others have removed it all the same, and the error says who they are.
func (c *Cluster) RemoveImage(ctx context.Context, name string, query url.Values, v apiversion.Version) ([]byte, error) {
	found, sent, err := c.findImage(name)
	if err != nil {
		return nil, err
	}
	replies := ask(ctx, membersOf(found), removeImageTimeout, func(ctx context.Context, m *member) ([]byte, error) {
		defer c.refreshed(ctx, "images", m.Engine, m.RefreshImages)
		var items []byte
		err := m.Call(ctx, engine.Request{Method: http.MethodDelete, Path: "/images/" + sent, Query: query, Version: v}, nil, &items)
		return items, err
	})
	done, failed := split(replies)
	if err := eachFailed(name, failed, namesOfReplies(done), "removed"); err != nil {
		return nil, err
	}
	removed := [][]byte{}
	for _, r := range done {
		removed = append(removed, r.value)
	}
	return joinOnce(removed)
}

// eachFailed is the error of what every engine that has an image was told to
// do. An engine that knows nothing of the image (any more) is none of them.
func eachFailed(name string, failed []engineFailure, done []string, did string) error {
	known := slices.DeleteFunc(slices.Clone(failed), func(f engineFailure) bool { return errdefs.IsNotFound(f.err) })
	switch {
	case len(known) > 0:
		return someFailed(known, done, did)
	case len(done) == 0:
		return noSuchImage(name)
	default:
		return nil
	}
}

// joinOnce joins JSON arrays and leaves out what was there before.
func joinOnce(arrays [][]byte) ([]byte, error) {
	var all [][]byte
	seen := map[string]bool{}
	for _, array := range arrays {
		elements, err := rawjson.Split(array)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if !seen[string(e)] {
				seen[string(e)] = true
				all = append(all, e)
			}
		}
	}
	return append(joinRaw(all), '\n'), nil
}

func membersOf(found []holder) []*member {
	members := make([]*member, len(found))
	for i, h := range found {
		members[i] = h.member
	}
	return members
}

// PruneImages removes the images that no container uses, on all engines.
func (c *Cluster) PruneImages(ctx context.Context, query url.Values, v apiversion.Version) ([]byte, error) {
	answer, err := c.prune(ctx, "/images/prune", query, v, nil)
	if err != nil {
		return nil, err
	}
	// The same image may have been removed from many engines.
	o, err := rawjson.ParseObject(answer)
	if err != nil {
		return nil, err
	}
	if deleted, ok := o.Get("ImagesDeleted"); ok && string(deleted) != "null" {
		once, err := joinOnce([][]byte{deleted})
		if err != nil {
			return nil, err
		}
		o.SetRaw("ImagesDeleted", once)
	}
	return o.Bytes(), nil
}

// PruneBuilds removes build caches, on all engines.
func (c *Cluster) PruneBuilds(ctx context.Context, query url.Values, v apiversion.Version) ([]byte, error) {
	return c.prune(ctx, "/build/prune", query, v, nil)
}
