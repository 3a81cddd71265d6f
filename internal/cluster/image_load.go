package cluster

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// LoadOptions are a load as the user sent it.
type LoadOptions struct {
	Query url.Values // quiet, platform and what engines may know beside
	Quiet bool
	// Body is the archive. Its Close must end a Read that waits.
	Body    io.ReadCloser
	Version apiversion.Version
}

// LoadImages loads an archive of images into every engine that answers. The
// archive is read once, as fast as it comes, while each engine loads it at its
// own pace. Nothing is emitted until the archive is read, as long as one engine
// still wants it.
func (c *Cluster) LoadImages(ctx context.Context, o LoadOptions, emit Emit) error {
	members := c.answering()
	if len(members) == 0 {
		return noNode()
	}
	job := &imageJob{doing: loading, silent: o.Quiet, done: loaded, afterUpload: true}
	return c.loadFrom(ctx, o.Body, job, members, o, emit)
}

// What an engine's line says while it loads.
const (
	loading = "Loading Image..."
	loaded  = "loaded"
)

// loadFrom spools an archive and loads it into the members. It closes src.
func (c *Cluster) loadFrom(ctx context.Context, src io.ReadCloser, job *imageJob, members []*member, o LoadOptions, emit Emit) error {
	defer src.Close()
	archive, err := newSpool(spoolDir())
	if err != nil {
		return err
	}
	defer archive.close()
	ctx, cancel := context.WithCancel(ctx)
	var (
		filling sync.WaitGroup
		fillErr error
		filled  = make(chan struct{})
	)
	filling.Go(func() {
		defer close(filled)
		fillErr = archive.fill(ctx, src)
	})
	if job.afterUpload {
		job.begin = filled
	}
	failed := job.run(ctx, members, emit, func(ctx context.Context, m *member, told *jobReport) error {
		defer c.refreshed(ctx, "images", m.Engine, m.RefreshImages)
		body := archive.reader(ctx)
		defer body.Close()
		return streamOn(ctx, m, engine.Request{
			Method: http.MethodPost, Path: "/images/load", Query: o.Query, Version: o.Version,
			Header: http.Header{"Content-Type": {"application/x-tar"}}, Body: body, Length: -1,
		}, told)
	})
	cancel()
	select {
	case <-filled:
		if fillErr != nil && len(failed) > 0 {
			// The engines only say that their archive broke off.
			return fillErr
		}
	default:
		// No engine wants the rest.
		src.Close()
	}
	filling.Wait()
	return spreadError(failed, len(members))
}
