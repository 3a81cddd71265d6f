package cluster

import (
	"bytes"
	"context"
	"net/http"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// ConnectNetwork puts a container on a network of its node. body is the
// request's, with the container's name or NODE/name.
func (c *Cluster) ConnectNetwork(ctx context.Context, ref string, body []byte, v apiversion.Version) error {
	a, err := readAttachment(body)
	if err != nil {
		return err
	}
	found, err := c.Reachable(a.container)
	if err != nil {
		return err
	}
	n, err := c.networkFor(ref, found)
	if err != nil {
		return err
	}
	return c.attach(ctx, found.Engine, n, "/connect", a, found.ID, v)
}

// DisconnectNetwork takes a container off a network. With force, also one that
// its engine no longer has: its place on the network may have stayed behind.
func (c *Cluster) DisconnectNetwork(ctx context.Context, ref string, body []byte, v apiversion.Version) error {
	a, err := readAttachment(body)
	if err != nil {
		return err
	}
	found, err := c.Reachable(a.container)
	if errdefs.IsNotFound(err) && a.force {
		return c.disconnectRemains(ctx, ref, a, v)
	}
	if err != nil {
		return err
	}
	n, err := c.networkFor(ref, found)
	if err != nil {
		return err
	}
	return c.attach(ctx, found.Engine, n, "/disconnect", a, found.ID, v)
}

func (c *Cluster) disconnectRemains(ctx context.Context, ref string, a *attachment, v apiversion.Version) error {
	n, err := c.network(ref)
	if err != nil {
		return err
	}
	on, err := n.answering()
	if err != nil {
		return err
	}
	_, name := c.splitNode(plainName(a.container))
	return c.attach(ctx, on[0].Engine, n, "/disconnect", a, name, v)
}

// attachment is the body of a connect or disconnect.
type attachment struct {
	body      *rawjson.Object
	container string
	force     bool
}

func readAttachment(body []byte) (*attachment, error) {
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	a := &attachment{body: o}
	if _, err := o.Decode("Container", &a.container); err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	if _, err := o.Decode("Force", &a.force); err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	if a.container == "" {
		return nil, invalid("Container is not specified: give a container's name or ID")
	}
	return a, nil
}

// networkFor finds the network that ref means for a container. One of the
// container's own node goes before those of others, so that a name that every
// node has, like bridge, is not ambiguous here.
func (c *Cluster) networkFor(ref string, container *Container) (*network, error) {
	found := findNetworks(c.networks(), ref)
	near := slices.DeleteFunc(slices.Clone(found), func(n *network) bool {
		// An engine lists a network that spans engines only once it uses it.
		return n.local() && !n.has(container.Engine)
	})
	if len(near) == 0 && len(found) > 0 {
		nodes := make([]string, len(found))
		for i, n := range found {
			nodes[i] = n.on[0].Name()
		}
		return nil, invalid("network %s is on %s, but container %s is on %s: a container can only be on networks of its own node, or on those that span nodes",
			ref, someOf(nodes), container.Name(), container.Engine.Name())
	}
	return oneNetwork(near, ref)
}

// attach sends a connect or disconnect to the container's engine.
func (c *Cluster) attach(ctx context.Context, to *engine.Engine, n *network, operation string, a *attachment, container string, v apiversion.Version) error {
	must(a.body.Set("Container", container))
	sent := a.body.Bytes()
	callCtx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	err := to.Call(callCtx, engine.Request{
		Method: http.MethodPost, Path: "/networks/" + n.ID + operation, Version: v,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   bytes.NewReader(sent), Length: int64(len(sent)),
	}, nil, nil)
	c.refreshed(ctx, "networks", to, to.RefreshNetworks)
	if len(container) == fullID {
		c.Refresh(ctx, to, container)
	}
	return err
}

// RemoveNetwork removes a network from its engine.
func (c *Cluster) RemoveNetwork(ctx context.Context, ref string) error {
	found := findNetworks(c.networks(), ref)
	if len(found) > 1 && builtin(plainName(ref)) {
		return fail(errdefs.ErrPermissionDenied, "%s is a pre-defined network and cannot be removed", plainName(ref))
	}
	n, err := oneNetwork(found, ref)
	if err != nil {
		return err
	}
	on, err := n.answering()
	if err != nil {
		return err
	}
	callCtx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	err = on[0].Call(callCtx, engine.Request{Method: http.MethodDelete, Path: "/networks/" + n.ID}, nil, nil)
	c.refreshEach(ctx, "networks", on, (*engine.Engine).RefreshNetworks)
	return err
}
