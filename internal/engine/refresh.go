package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/skep/skep/internal/rawjson"
)

// inspectParallel bounds the inspects one engine is asked for at a time.
const inspectParallel = 8

// listParallel bounds how many lists it is asked for at a time: each takes a
// connection, which stays open for a while.
const listParallel = 2

// question numbers a question about the inventory. What is not part of the
// cluster now is not asked: an answer would fill an inventory that was emptied.
func (e *Engine) question() (seq uint64, err error) {
	// Numbered first: if the engine leaves after this check, its inventory is
	// emptied by a later number, and the answer comes too late.
	seq = e.seq.Add(1)
	if s := e.State(); s == Pending || s == Disconnected {
		return 0, &UnreachableError{Name: e.Name(), Address: e.addr.String(), Err: fmt.Errorf("the engine is %s", s)}
	}
	return seq, nil
}

// RefreshAll reads the whole inventory again. Containers are inspected only
// where their entry in the list has changed. One part that fails does not keep
// the others from being read.
func (e *Engine) RefreshAll(ctx context.Context) error {
	seq, err := e.question()
	if err != nil {
		return err
	}
	return e.readAll(ctx, seq)
}

func (e *Engine) readAll(ctx context.Context, seq uint64) error {
	var g errgroup.Group
	g.SetLimit(listParallel)
	g.Go(func() error { return e.readAllContainers(ctx, seq) })
	g.Go(func() error { return e.readImages(ctx, seq) })
	g.Go(func() error { return e.readNetworks(ctx, seq) })
	g.Go(func() error { return e.readVolumes(ctx, seq) })
	return g.Wait()
}

// RefreshContainer reads one container again; when it returns, readers see
// the container's state as it was after the call began, or later.
func (e *Engine) RefreshContainer(ctx context.Context, id string) error {
	seq, err := e.question()
	if err != nil {
		return err
	}
	return e.readContainers(ctx, seq, []string{id})
}

// RefreshImages reads the list of images again.
func (e *Engine) RefreshImages(ctx context.Context) error {
	seq, err := e.question()
	if err != nil {
		return err
	}
	return e.readImages(ctx, seq)
}

func (e *Engine) readImages(ctx context.Context, seq uint64) error {
	return e.list(ctx, "/images/json", url.Values{"all": {"1"}}, func(body []byte, sum uint64) error {
		if e.images.confirm(seq, sum) {
			return nil
		}
		raws, err := e.split(body, "/images/json")
		if err != nil {
			return err
		}
		images, err := decodeAll(raws, func(i *Image, raw json.RawMessage) { i.Raw = raw })
		if err == nil {
			e.images.putSummed(seq, sum, NewImageSet(images))
		}
		return err
	})
}

// RefreshNetworks reads the list of networks again.
func (e *Engine) RefreshNetworks(ctx context.Context) error {
	seq, err := e.question()
	if err != nil {
		return err
	}
	return e.readNetworks(ctx, seq)
}

func (e *Engine) readNetworks(ctx context.Context, seq uint64) error {
	return e.list(ctx, "/networks", nil, func(body []byte, sum uint64) error {
		if e.networks.confirm(seq, sum) {
			return nil
		}
		raws, err := e.split(body, "/networks")
		if err != nil {
			return err
		}
		networks, err := decodeAll(raws, func(n *Network, raw json.RawMessage) { n.Raw = raw })
		if err == nil {
			e.networks.putSummed(seq, sum, networks)
		}
		return err
	})
}

// RefreshVolumes reads the list of volumes again.
func (e *Engine) RefreshVolumes(ctx context.Context) error {
	seq, err := e.question()
	if err != nil {
		return err
	}
	return e.readVolumes(ctx, seq)
}

func (e *Engine) readVolumes(ctx context.Context, seq uint64) error {
	return e.list(ctx, "/volumes", nil, func(body []byte, sum uint64) error {
		if e.volumes.confirm(seq, sum) {
			return nil
		}
		var answer struct{ Volumes []json.RawMessage }
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("engine %s: answer to /volumes: %w", e.Name(), err)
		}
		volumes, err := decodeAll(answer.Volumes, func(v *Volume, raw json.RawMessage) { v.Raw = raw })
		if err == nil {
			e.volumes.putSummed(seq, sum, volumes)
		}
		return err
	})
}

// list reads a list and hands it to use as the engine wrote it, with its sum:
// most lists are what they were, and need not be decoded again. The bytes are
// not there any more when use has returned.
func (e *Engine) list(ctx context.Context, path string, query url.Values, use func(body []byte, sum uint64) error) error {
	body := e.cfg.Shared.bodies.get()
	defer e.cfg.Shared.bodies.put(body)
	reading, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	err := e.get(reading, path, query, body)
	cancel()
	if err != nil {
		return err
	}
	return use(body.Bytes(), maphash.Bytes(e.seed, body.Bytes()))
}

// split gives the elements of a list as they are.
func (e *Engine) split(body []byte, path string) ([]json.RawMessage, error) {
	raws, err := rawjson.Split(body)
	if err != nil {
		return nil, fmt.Errorf("engine %s: answer to %s: %w", e.Name(), path, err)
	}
	return raws, nil
}

func decodeAll[T any](raws []json.RawMessage, keep func(*T, json.RawMessage)) ([]*T, error) {
	out := make([]*T, len(raws))
	for i, raw := range raws {
		out[i] = new(T)
		if err := json.Unmarshal(raw, out[i]); err != nil {
			return nil, fmt.Errorf("decode inventory: %w", err)
		}
		// A copy: raw is a part of the whole answer, which need not stay.
		keep(out[i], bytes.Clone(raw))
	}
	return out, nil
}

// Containers.

func (e *Engine) readAllContainers(ctx context.Context, seq uint64) error {
	return e.list(ctx, "/containers/json", url.Values{"all": {"1"}}, func(body []byte, sum uint64) error {
		if e.containers.confirm(seq, sum) {
			return nil
		}
		list, err := e.readList(body)
		if err != nil {
			return err
		}
		present := make(map[string]bool, len(list))
		var changed []listed
		for _, l := range list {
			present[l.id] = true
			if old := e.containers.get(l.id); old == nil || old.listedOnly || old.sum != l.sum {
				changed = append(changed, l)
			}
		}
		fresh, err := e.inspectAll(ctx, seq, changed)
		if err == nil {
			e.containers.replace(seq, sum, present, fresh)
		}
		return err
	})
}

// readContainers reads the given containers again, those that are gone too.
func (e *Engine) readContainers(ctx context.Context, seq uint64, ids []string) error {
	filter, err := json.Marshal(map[string][]string{"id": ids})
	if err != nil {
		return err
	}
	var fresh []*Container
	query := url.Values{"all": {"1"}, "filters": {string(filter)}}
	err = e.list(ctx, "/containers/json", query, func(body []byte, _ uint64) error {
		list, err := e.readList(body)
		if err == nil {
			fresh, err = e.inspectAll(ctx, seq, list)
		}
		return err
	})
	if err != nil {
		return err
	}
	found := make(map[string]bool, len(fresh))
	for _, c := range fresh {
		found[c.ID] = true
	}
	var gone []string
	for _, id := range ids {
		if !found[id] {
			gone = append(gone, id)
		}
	}
	e.noteVolumes(fresh, gone)
	e.containers.put(seq, fresh, gone)
	return nil
}

// inspectAll inspects each listed container, a bounded number at a time. What
// has vanished meanwhile is left out.
func (e *Engine) inspectAll(ctx context.Context, seq uint64, list []listed) ([]*Container, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout+time.Duration(len(list))*e.cfg.CallTimeout/100)
	defer cancel()
	var mu sync.Mutex
	fresh := make([]*Container, 0, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inspectParallel)
	for _, l := range list {
		g.Go(func() error {
			c, err := e.inspect(ctx, l)
			if errdefs.IsNotFound(err) {
				return nil
			}
			if err != nil && !notReached(ctx, err) {
				// One broken container must not hide the engine's others.
				e.cfg.Logger.Warn("container is known from the list only", "engine", e.Name(), "err", err)
				c, err = newContainer(l, nil, &e.cfg.Shared.words)
			}
			if err != nil {
				return err
			}
			c.seq = seq
			mu.Lock()
			defer mu.Unlock()
			fresh = append(fresh, c)
			return nil
		})
	}
	return fresh, g.Wait()
}

func (e *Engine) inspect(ctx context.Context, l listed) (*Container, error) {
	if err := e.cfg.Inspects.acquire(ctx); err != nil {
		return nil, err
	}
	defer e.cfg.Inspects.release()
	var inspected inspectedContainer
	if err := e.get(ctx, "/containers/"+l.id+"/json", nil, &inspected); err != nil {
		return nil, err
	}
	return newContainer(l, &inspected, &e.cfg.Shared.words)
}

// notReached tells an engine that did not answer from one that did, and badly.
func notReached(ctx context.Context, err error) bool {
	var unreachable *UnreachableError
	return errors.As(err, &unreachable) || ctx.Err() != nil
}

const (
	refreshRetryMin = time.Second
	refreshRetryMax = 30 * time.Second
	// markedAtOnce bounds how many containers one question names: IDs travel in
	// the request's first line.
	markedAtOnce = 256
)

// refresher carries out its share of the marks of the dirty queue until ctx is
// done. What fails is tried again later, and holds up nothing else.
func (e *Engine) refresher(ctx context.Context, s share, changedID chan<- error) {
	var (
		failed dirtySet
		retry  <-chan time.Time // nil while nothing has failed
		delay  = refreshRetryMin
	)
	for {
		var set dirtySet
		select {
		case <-ctx.Done():
			return
		case <-e.dirty.ready[s]:
			if !gather(ctx) {
				return
			}
			set = e.dirty.take(s)
		case <-retry:
			set, failed, retry = failed, dirtySet{}, nil
		}
		left, err := e.refresh(ctx, set)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if retry == nil {
				delay = refreshRetryMin
			}
			continue
		case errors.Is(err, errAnotherEngine):
			signal(changedID, err)
			e.Poke()
		}
		e.cfg.Logger.Debug("refresh failed", "engine", e.Name(), "err", err)
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) {
			e.setError(err)
		}
		failed.add(left)
		if retry == nil {
			retry = time.After(delay/2 + rand.N(delay))
			delay = min(2*delay, refreshRetryMax)
		}
	}
}

// refresh reads the marked parts at the same time, and gives those that failed
// and why.
func (e *Engine) refresh(ctx context.Context, set dirtySet) (left dirtySet, err error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards left and errs
		errs []error
	)
	slots := NewLimiter(listParallel)
	read := func(part dirtySet, do func(seq uint64) error) {
		wg.Go(func() {
			err := slots.acquire(ctx)
			if err == nil {
				err = do(e.seq.Add(1))
				slots.release()
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				left.add(part)
				errs = append(errs, err)
			}
		})
	}
	if set.identity {
		read(dirtySet{identity: true}, func(uint64) error { return e.checkIdentity(ctx) })
	}
	if set.allContainers {
		read(dirtySet{allContainers: true}, func(seq uint64) error { return e.readAllContainers(ctx, seq) })
	}
	if set.images {
		read(dirtySet{images: true}, func(seq uint64) error { return e.readImages(ctx, seq) })
	}
	if set.networks {
		read(dirtySet{networks: true}, func(seq uint64) error { return e.readNetworks(ctx, seq) })
	}
	if set.volumes {
		read(dirtySet{volumes: true}, func(seq uint64) error { return e.readVolumes(ctx, seq) })
	}
	for ids := range slices.Chunk(e.unread(set.containers), markedAtOnce) {
		var part dirtySet
		for _, id := range ids {
			part.container(id, set.containers[id])
		}
		read(part, func(seq uint64) error { return e.readContainers(ctx, seq, ids) })
	}
	wg.Wait()
	return left, errors.Join(errs...)
}

// unread gives those of the marked containers that nobody has read since.
func (e *Engine) unread(marked map[string]uint64) []string {
	var ids []string
	for id, seq := range marked {
		if e.containers.applied(id) <= seq {
			ids = append(ids, id)
		}
	}
	return ids
}

// Limiter bounds how many inspects run at once over all engines that share it,
// so that a manager that starts does not flood its network.
type Limiter chan struct{}

// NewLimiter allows n at a time.
func NewLimiter(n int) Limiter { return make(Limiter, n) }

func (l Limiter) acquire(ctx context.Context) error {
	if l == nil {
		return nil
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l Limiter) release() {
	if l != nil {
		<-l
	}
}
