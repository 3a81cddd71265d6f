package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
	"github.com/skep/skep/internal/rawjson"
)

// volumeRequest is a create of a volume, read and checked.
type volumeRequest struct {
	body  *rawjson.Object
	given string // as the user wrote the name, or as it was made up for him
	name  string // without the node
	to    []*member
	// driver is "" for the engine's default, which is the local one.
	driver  string
	version apiversion.Version
}

// CreateVolume creates a volume on all engines that answer, so that a container
// finds it wherever it is placed. NODE/name creates it on that node only, and
// the whitelist label on the nodes that it names. It is all or nothing: if an
// engine fails, those that did not have the volume before are rid of it again.
// The answer (status 201) is an engine's own, with the name as it was given.
func (c *Cluster) CreateVolume(ctx context.Context, body []byte, v apiversion.Version) ([]byte, error) {
	r, err := c.readVolume(body)
	if err != nil {
		return nil, err
	}
	r.version = v
	// It goes on when the user hangs up: half a volume is of no use.
	ctx = context.WithoutCancel(ctx)
	replies := ask(ctx, r.to, volumeTimeout, r.createOn)
	defer c.refreshEach(ctx, "volumes", r.to, (*engine.Engine).RefreshVolumes)
	if _, failed := split(replies); len(failed) > 0 {
		c.undoVolumes(ctx, r, replies)
		return nil, someFailed(failed, nil, "")
	}
	o, err := rawjson.ParseObject(replies[0].value.answer)
	if err != nil {
		return nil, fmt.Errorf("engine %s: create volume: %w", r.to[0].Name(), err)
	}
	must(o.Set("Name", r.given))
	return o.Bytes(), nil
}

// volumeCreated is what became of a create on one engine.
type volumeCreated struct {
	answer []byte
	isNew  bool // the engine is known not to have had it before
}

func (r *volumeRequest) createOn(ctx context.Context, m *member) (volumeCreated, error) {
	var created volumeCreated
	// What may be taken back must not be guessed from an inventory: only the
	// engine's own word that it had no such volume allows to delete one.
	err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/volumes/" + r.name}, nil, nil)
	var refused *engine.StatusError
	if err != nil && !errors.As(err, &refused) {
		return created, err // it would not be reached for the create either
	}
	created.isNew = errdefs.IsNotFound(err)
	sent := r.body.Bytes()
	err = m.Call(ctx, engine.Request{
		Method: http.MethodPost, Path: "/volumes/create", Version: r.version,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   bytes.NewReader(sent), Length: int64(len(sent)),
	}, nil, &created.answer)
	return created, err
}

// undoVolumes removes what a create that failed elsewhere has made. What a
// driver keeps for all engines is left alone: it may be older than the create,
// and others may use it.
func (c *Cluster) undoVolumes(ctx context.Context, r *volumeRequest, replies []reply[volumeCreated]) {
	if r.driver != "" && r.driver != localDriver {
		return
	}
	var made []*member
	for _, reply := range replies {
		// One that did not say so may have made it all the same.
		var refused *engine.StatusError
		if reply.value.isNew && reply.from.Answers() && !errors.As(reply.err, &refused) {
			made = append(made, reply.from)
		}
	}
	for _, undone := range ask(ctx, made, volumeTimeout, func(ctx context.Context, m *member) (struct{}, error) {
		return struct{}{}, m.Call(ctx, engine.Request{Method: http.MethodDelete, Path: "/volumes/" + r.name}, nil, nil)
	}) {
		if undone.err != nil && !errdefs.IsNotFound(undone.err) {
			c.cfg.Logger.Warn("volume of a failed create stays", "volume", r.name, "engine", undone.from.Name(), "err", undone.err)
		}
	}
}

func (c *Cluster) readVolume(body []byte) (*volumeRequest, error) {
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	r := &volumeRequest{body: o}
	var labels map[string]string
	for key, into := range map[string]any{"Name": &r.given, "Driver": &r.driver, "Labels": &labels} {
		if _, err := o.Decode(key, into); err != nil {
			return nil, invalid("invalid JSON: %v", err)
		}
	}
	if r.given == "" || strings.HasSuffix(r.given, "/") { // or NODE/
		if err := r.makeUpName(labels); err != nil {
			return nil, err
		}
	}
	if r.to, r.name, err = c.volumeNodes(r, labels); err != nil {
		return nil, err
	}
	must(o.Set("Name", r.name))
	return r, nil
}

// makeUpName gives the volume a name that is the same on all engines. Engines
// mark those they name themselves; prune goes by that mark.
func (r *volumeRequest) makeUpName(labels map[string]string) error {
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	r.given += hex.EncodeToString(id)
	marked := map[string]string{labelAnonymous: ""}
	for k, v := range labels {
		marked[k] = v
	}
	return r.body.Set("Labels", marked)
}

// volumeNodes says on which engines a volume is to be, and under which name.
func (c *Cluster) volumeNodes(r *volumeRequest, labels map[string]string) (to []*member, name string, err error) {
	node, name := c.splitNode(r.given)
	if node != "" {
		m, err := c.node(node)
		if err != nil {
			return nil, "", err
		}
		return []*member{m}, name, nil
	}
	if node, _, ok := strings.Cut(name, "/"); ok && (r.driver == "" || r.driver == localDriver) {
		return nil, "", invalid("create %s: no node %s is known, and the slash in a local volume's name stands between node and volume", r.given, node)
	}
	if to = c.answering(); len(to) == 0 {
		return nil, "", noNode()
	}
	whitelists, err := readWhitelists(labels[LabelWhitelists])
	if err != nil {
		return nil, "", err
	}
	to = slices.DeleteFunc(to, func(m *member) bool {
		return slices.ContainsFunc(whitelists, func(names []string) bool { return !slices.Contains(names, m.Name()) })
	})
	if len(to) == 0 {
		return nil, "", fail(errdefs.ErrInvalidArgument, "create %s: no node that answers is in the whitelist %s", r.given, labels[LabelWhitelists])
	}
	return to, name, nil
}

// readWhitelists reads the label's list of KEY==a|b into the names of the nodes
// that each allows. A label that is not a JSON list of strings says nothing.
func readWhitelists(label string) ([][]string, error) {
	var expressions []string
	if json.Unmarshal([]byte(label), &expressions) != nil {
		return nil, nil
	}
	var whitelists [][]string
	for _, w := range expressions {
		e, err := placement.ParseExpression(w)
		if err != nil {
			return nil, invalid("whitelist: %v", err)
		}
		whitelists = append(whitelists, strings.Split(e.Value, "|"))
	}
	return whitelists, nil
}
