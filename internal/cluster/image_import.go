package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// ImportOptions are an import as the user sent it.
type ImportOptions struct {
	Query url.Values // fromSrc, repo, tag, changes, message, platform and what engines may know beside
	// Body is the file system's archive when fromSrc is "-". Its Close must end
	// a Read that waits.
	Body    io.ReadCloser
	Length  int64 // of Body in bytes; -1 when unknown
	Header  http.Header
	Version apiversion.Version
}

// ImportImage makes an image of an archive on one engine and copies it to all
// others. Were each to import the archive, each would make another image of
// it: the time is a part of an image, and so of its ID.
func (c *Cluster) ImportImage(ctx context.Context, o ImportOptions, emit Emit) error {
	members := c.answering()
	if len(members) == 0 {
		return noNode()
	}
	first, err := c.AnyEngine()
	if err != nil {
		return err
	}
	id, last, err := c.importOn(ctx, first, o, emit)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(members, func(m *member) bool { return m.Engine == first })
	copyErr := c.copyImage(ctx, first, importedName(o.Query, id), others, emit)
	// The ID is the last word, for those who read it from there.
	if err := emit(append(last, '\n')); err != nil {
		return err
	}
	if copyErr != nil {
		return fmt.Errorf("the image %s is on node %s only in part of the cluster: %w", id, first.Name(), copyErr)
	}
	return nil
}

// importedName is what to call the image, so that its name is copied too.
func importedName(query url.Values, id string) string {
	repo, tag := query.Get("repo"), query.Get("tag")
	switch {
	case repo == "":
		return id
	case tag == "":
		return repo
	default:
		return repo + ":" + tag
	}
}

// importOn imports on one engine and passes on its progress, but for the last
// message, which tells the ID.
func (c *Cluster) importOn(ctx context.Context, e *engine.Engine, o ImportOptions, emit Emit) (id string, last []byte, err error) {
	defer c.RefreshImages(ctx, e)
	ctx, stop := answeringContext(ctx, e)
	defer stop()
	r := engine.Request{Method: http.MethodPost, Path: "/images/create", Query: o.Query, Header: o.Header, Version: o.Version}
	if o.Query.Get("fromSrc") == "-" {
		r.Body, r.Length = o.Body, o.Length
	}
	resp, err := e.Do(ctx, r)
	if err != nil {
		return "", nil, err
	}
	if resp.StatusCode >= 400 {
		return "", nil, engine.ReadError(resp)
	}
	defer resp.Body.Close()
	var emitErr error
	err = readMessages(resp.Body, func(raw []byte, m *progressMessage) {
		if last != nil && emitErr == nil {
			emitErr = emit(append(last, '\n'))
		}
		last, id = slices.Clone(raw), ""
		if strings.HasPrefix(m.Status, "sha256:") {
			id = m.Status
		}
	})
	switch {
	case err != nil:
		return "", nil, err
	case emitErr != nil:
		return "", nil, emitErr
	case id == "":
		return "", nil, fmt.Errorf("engine %s did not say which image it has made", e.Name())
	}
	return id, last, nil
}

// copyImage brings an image from one engine to others.
func (c *Cluster) copyImage(ctx context.Context, from *engine.Engine, name string, to []*member, emit Emit) error {
	if len(to) == 0 {
		return nil
	}
	ctx, stop := answeringContext(ctx, from)
	defer stop()
	resp, err := from.Do(ctx, engine.Request{Method: http.MethodGet, Path: "/images/get", Query: url.Values{"names": {name}}})
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return engine.ReadError(resp)
	}
	job := &imageJob{doing: loading, countsOnly: true}
	return c.loadFrom(ctx, resp.Body, job, to, LoadOptions{Query: url.Values{}}, emit)
}
