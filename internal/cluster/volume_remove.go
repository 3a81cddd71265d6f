package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// RemoveVolume removes a volume from all engines that have it, NODE/name from
// that node only. If an engine fails the others go on; the error says where the
// volume is gone. With force, one that does not exist is no error.
func (c *Cluster) RemoveVolume(ctx context.Context, ref string, force bool) error {
	found := c.volumes(ref)
	if len(found) == 0 {
		if force {
			return nil
		}
		return noSuchVolume(ref)
	}
	query := url.Values{}
	if force {
		query.Set("force", "1")
	}
	var failed []engineFailure
	var gone []string
	note := func(from *member, err error) {
		if err != nil && !errdefs.IsNotFound(err) {
			failed = append(failed, engineFailure{from, err})
			return
		}
		gone = append(gone, from.Name())
	}
	var from []*member
	local := map[*member]*volume{}
	var shared []*volume
	for _, v := range found {
		if isLocal(v.Volume) {
			from, local[v.on] = append(from, v.on), v
		} else {
			shared = append(shared, v)
		}
	}
	for _, r := range ask(ctx, from, 0, func(ctx context.Context, m *member) (struct{}, error) {
		return struct{}{}, c.removeVolume(ctx, local[m], query)
	}) {
		note(r.from, r.err)
	}
	if len(shared) > 0 {
		note(c.removeShared(ctx, shared, query))
	}
	if len(failed) > 0 {
		return someFailed(failed, gone, "removed")
	}
	return nil
}

// removeShared removes a volume of a driver that engines share: one engine that
// can be reached removes it for all. An engine knows only of the containers that
// it runs itself, so it is not asked while one of another uses the volume, and
// when one has refused none of the others is asked.
func (c *Cluster) removeShared(ctx context.Context, known []*volume, query url.Values) (asked *member, err error) {
	for _, v := range known {
		if user := mounting(v); user != nil {
			return v.on, &engine.StatusError{Status: http.StatusConflict, Message: "remove " + v.Name + ": volume is in use - [" + user.ID + "]"}
		}
	}
	for _, v := range known {
		asked, err = v.on, c.removeVolume(ctx, v, query)
		var unreachable *engine.UnreachableError
		if !errors.As(err, &unreachable) {
			break
		}
	}
	on := make([]*member, len(known))
	for i, v := range known {
		on[i] = v.on
	}
	c.refreshEach(ctx, "volumes", on, (*engine.Engine).RefreshVolumes)
	return asked, err
}

// mounting gives a container of the volume's engine that mounts it, or nil.
func mounting(v *volume) *engine.Container {
	for _, candidate := range v.on.Containers() {
		for _, mount := range candidate.Mounts {
			if mount.Name == v.Name {
				return candidate
			}
		}
	}
	return nil
}

func (c *Cluster) removeVolume(ctx context.Context, v *volume, query url.Values) error {
	m := v.on
	if !m.Answers() {
		reason := m.Status().Err
		if reason == nil {
			reason = errors.New("it is not connected now")
		}
		return &engine.UnreachableError{Name: m.Name(), Address: m.Address().String(), Err: reason}
	}
	ctx, cancel := context.WithTimeout(ctx, volumeTimeout)
	defer cancel()
	err := m.Call(ctx, engine.Request{Method: http.MethodDelete, Path: "/volumes/" + v.Name, Query: query}, nil, nil)
	c.refreshed(ctx, "volumes", m.Engine, m.RefreshVolumes)
	return err
}
