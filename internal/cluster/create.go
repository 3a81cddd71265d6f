package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// createTimeout is how long an engine may take to create a container whose
// image it has.
const createTimeout = 2 * time.Minute

// refreshTimeout is how long an operation waits for its effect to show in the
// index. If it takes longer the event stream brings it.
const refreshTimeout = 5 * time.Second

// Create places a container and creates it. It returns the engine's own answer
// to the create (status 201).
func (c *Cluster) Create(ctx context.Context, o CreateOptions) ([]byte, error) {
	r, err := c.readCreate(o)
	if err != nil {
		return nil, err
	}
	answer, err := c.createAnywhere(ctx, r)
	for retry := 0; err != nil && mayPass(err) && retry < c.cfg.CreateRetry && ctx.Err() == nil; retry++ {
		c.cfg.Logger.Warn("create failed, trying again", "name", r.name, "retry", retry+1, "err", err)
		answer, err = c.createAgain(ctx, r)
	}
	return answer, err
}

// createAnywhere creates the container where its image can be had.
func (c *Cluster) createAnywhere(ctx context.Context, r *createRequest) ([]byte, error) {
	if r.image != "" {
		if by := c.held(r.image); by != nil {
			// Pulling it could only fail, or bring a stranger's image of the
			// same name.
			var err error
			if r, err = r.onHolders(by); err != nil {
				return nil, err
			}
		}
	}
	answer, err := c.createSomewhere(ctx, r)
	if moved := c.elsewhere(r, err); moved != nil {
		answer, err = c.createSomewhere(ctx, moved)
	}
	return answer, err
}

var otherOS = regexp.MustCompile(`image operating system "([a-z]+)" cannot be used on this platform`)

// elsewhere says where else a create may succeed that failed with err: nil
// for nowhere.
func (c *Cluster) elsewhere(r *createRequest, err error) *createRequest {
	if err == nil {
		return nil
	}
	if m := otherOS.FindStringSubmatch(err.Error()); m != nil {
		e, perr := placement.ParseExpression("ostype==" + m[1])
		if perr != nil {
			return nil
		}
		moved := *r
		moved.placement.Constraints = append(r.placement.Constraints[:len(r.placement.Constraints):len(r.placement.Constraints)], e)
		return &moved
	}
	var missing *missingImageError
	if !errors.As(err, &missing) {
		return nil
	}
	holders := c.holders(parseImageRef(r.image))
	if len(holders) == 0 {
		return nil
	}
	moved, merr := r.onHolders(holders)
	if merr != nil {
		return nil
	}
	// It must go there or fail with the reason why not.
	return moved
}

// createSomewhere places the container and creates it on the chosen engine.
func (c *Cluster) createSomewhere(ctx context.Context, r *createRequest) ([]byte, error) {
	chosen, res, err := c.place(r)
	if err != nil {
		return nil, err
	}
	r.tried[chosen.Engine] = true
	shown := true // or not there at all
	defer func() { c.settle(res, shown) }()
	answer, err := c.createOn(ctx, chosen.Engine, r)
	if err != nil {
		c.moves.doubted(chosen.Engine, r.swarmID, err)
		return nil, err
	}
	var created struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &created); err != nil || created.ID == "" {
		return nil, fmt.Errorf("engine %s: create gave no container ID: %s", chosen.Name(), answer)
	}
	c.moves.created(chosen.Engine, created.ID, r)
	shown = c.refreshContainer(ctx, chosen.Engine, created.ID)
	if r.name == "" {
		c.makeNameUnique(ctx, created.ID)
	}
	return answer, nil
}

// createOn creates the container on one engine, and pulls its image there if
// it has to.
func (c *Cluster) createOn(ctx context.Context, e *engine.Engine, r *createRequest) ([]byte, error) {
	answer, err := c.createCall(ctx, e, r)
	if !isMissingImage(err, r.image) {
		return answer, err
	}
	if perr := c.pullOn(ctx, e, r.image, r.Query.Get("platform"), r.RegistryAuth); perr != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &missingImageError{err, perr}
	}
	return c.createCall(ctx, e, r)
}

// createCall goes on when the user hangs up: only so is the outcome known.
func (c *Cluster) createCall(ctx context.Context, e *engine.Engine, r *createRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	body := r.body.Bytes()
	var answer []byte
	err := e.Call(ctx, engine.Request{
		Method: http.MethodPost, Path: "/containers/create", Query: r.Query, Version: r.Version,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   bytes.NewReader(body), Length: int64(len(body)),
	}, nil, &answer)
	return answer, err
}

// missingImageError is an engine's word that it does not have an image, and why
// it could not be brought there.
type missingImageError struct{ missing, pull error }

func (e *missingImageError) Error() string {
	return e.missing.Error() + " (and pulling it has failed: " + e.pull.Error() + ")"
}

func (e *missingImageError) Unwrap() error { return e.missing }

// isMissingImage tells a missing image from all else that a create may miss.
func isMissingImage(err error, image string) bool {
	return image != "" && errdefs.IsNotFound(err) && missingImage.MatchString(err.Error())
}

var missingImage = regexp.MustCompile(`(?i)^no such image|image \S* ?not found|repository \S* ?not found|repository does not exist|image not known`)

// pullOn pulls an image on one engine, for a create. The stream's last error
// is the outcome.
func (c *Cluster) pullOn(ctx context.Context, e *engine.Engine, image, platform, auth string) error {
	ref := parseImageRef(image)
	if ref.familiar == "" {
		return noSuchImage(image)
	}
	query := url.Values{"fromImage": {ref.familiar}}
	if platform != "" {
		query.Set("platform", platform)
	}
	header := http.Header{}
	if auth != "" {
		header.Set("X-Registry-Auth", auth)
	}
	resp, err := e.Do(ctx, engine.Request{Method: http.MethodPost, Path: "/images/create", Query: query, Header: header})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return engine.ReadError(resp)
	}
	defer resp.Body.Close()
	return readMessages(resp.Body, func([]byte, *progressMessage) {})
}

// Refresh reads a container again after an operation on it, so that whoever
// asks next sees its effect. What it cannot read, the event stream brings.
func (c *Cluster) Refresh(ctx context.Context, e *engine.Engine, id string) {
	c.refreshContainer(ctx, e, id)
}

func (c *Cluster) refreshContainer(ctx context.Context, e *engine.Engine, id string) bool {
	return c.refreshed(ctx, "container "+id, e, func(ctx context.Context) error { return e.RefreshContainer(ctx, id) })
}

// makeNameUnique gives a container another name if the one its engine has made
// up is taken on another engine.
func (c *Cluster) makeNameUnique(ctx context.Context, id string) {
	c.mu.RLock()
	found, ok := c.index.byID.Get(id)
	taken := ok && len(c.index.byName[found.Name()]) > 1
	c.mu.RUnlock()
	if !taken {
		return
	}
	if err := c.Rename(ctx, id, found.Name()+"_"+id[:min(6, len(id))]); err != nil {
		c.cfg.Logger.Warn("name is used twice", "name", found.Name(), "container", id, "err", err)
	}
}

// Rename gives a container a name that no other has, over all engines.
func (c *Cluster) Rename(ctx context.Context, ref, name string) error {
	found, err := c.Reachable(ref)
	if err != nil {
		return err
	}
	name = plainName(name)
	res, err := c.reserveName(name, found.ID)
	if err != nil {
		return err
	}
	defer c.unreserve(res)
	// It goes on when the user hangs up, like a create.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	err = found.Engine.Call(callCtx, engine.Request{
		Method: http.MethodPost, Path: "/containers/" + found.ID + "/rename", Query: url.Values{"name": {name}},
	}, nil, nil)
	if err != nil {
		return err
	}
	c.Refresh(ctx, found.Engine, found.ID)
	return nil
}

// Remove removes a container.
func (c *Cluster) Remove(ctx context.Context, ref string, query url.Values) error {
	found, err := c.Reachable(ref)
	if err != nil {
		return err
	}
	err = found.Engine.Call(ctx, engine.Request{Method: http.MethodDelete, Path: "/containers/" + found.ID, Query: query}, nil, nil)
	if err == nil && query.Get("link") == "" { // with it, only one of its names goes
		found.Engine.ForgetContainer(found.ID)
		return nil
	}
	c.Refresh(ctx, found.Engine, found.ID)
	return err
}
