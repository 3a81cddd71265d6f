package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// usageTimeout is how long an engine may add up what it has on its disk.
const usageTimeout = 60 * time.Second

// usageByType is the version from which disk usage can be asked for in part.
var usageByType = apiversion.Version{Major: 1, Minor: 42}

// DiskUsage adds up what the engines have on their disks. An image that several
// engines have stands there once for each: each holds its own copy and can be
// rid of it by itself, which is what the CLI's totals are made of. Images and
// build cache tell their Node; containers and volumes do so by their names.
func (c *Cluster) DiskUsage(ctx context.Context, types []string, v apiversion.Version) ([]byte, error) {
	query := url.Values{}
	if len(types) > 0 && !v.Less(usageByType) {
		query["type"] = types
	}
	replies := ask(ctx, c.answering(), usageTimeout, func(ctx context.Context, m *member) (*rawjson.Object, error) {
		var body []byte
		err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/system/df", Query: query, Version: v}, nil, &body)
		if err != nil {
			return nil, err
		}
		return usageView(m.Engine, body)
	})
	if len(replies) == 0 {
		return []byte(`{"LayersSize":0,"Images":[],"Containers":[],"Volumes":[],"BuildCache":[]}`), nil
	}
	return c.mergeReplies("disk usage is missing", replies)
}

// usageView is an engine's part of the answer, saying whose it is.
func usageView(e *engine.Engine, body []byte) (*rawjson.Object, error) {
	usage, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, fmt.Errorf("engine %s: disk usage: %w", e.Name(), err)
	}
	node := map[string]string{"ID": e.Identity().ID, "Name": e.Name()}
	setNode := func(o *rawjson.Object) error { return o.Set("Node", node) }
	for key, edit := range map[string]func(*rawjson.Object) error{
		"Images":     setNode,
		"BuildCache": setNode,
		"Containers": func(o *rawjson.Object) error {
			var names []string
			if _, err := o.Decode("Names", &names); err != nil {
				return err
			}
			for i, n := range names {
				names[i] = "/" + onNode(e, strings.TrimPrefix(n, "/"))
			}
			return o.Set("Names", names)
		},
		"Volumes": func(o *rawjson.Object) error { return volumeView(e, o) },
	} {
		if err := editEach(usage, key, edit); err != nil {
			return nil, fmt.Errorf("engine %s: disk usage: %w", e.Name(), err)
		}
	}
	return usage, nil
}

// editEach edits each object of the list under key, if there is one.
func editEach(o *rawjson.Object, key string, edit func(*rawjson.Object) error) error {
	list, ok := o.Get(key)
	if !ok || string(list) == "null" {
		return nil
	}
	objects, err := rawjson.ParseObjects(list)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	out := make([]json.RawMessage, len(objects))
	for i, object := range objects {
		if err := edit(object); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		out[i] = object.Bytes()
	}
	o.SetRaw(key, joinRaw(out))
	return nil
}
