package cluster

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// PullOptions are a pull as the user sent it.
type PullOptions struct {
	Query        url.Values // fromImage, tag, platform and what engines may know beside
	RegistryAuth string     // X-Registry-Auth
	Version      apiversion.Version
}

// PullImage pulls an image on every engine that answers. One that fails does
// not stop the others. An error that comes before anything was emitted is the
// answer of all of them.
func (c *Cluster) PullImage(ctx context.Context, o PullOptions, emit Emit) error {
	members := c.answering()
	if len(members) == 0 {
		return noNode()
	}
	job := &imageJob{doing: "Pulling " + pulledName(o.Query) + "..."}
	failed := job.run(ctx, members, emit, func(ctx context.Context, m *member, told *jobReport) error {
		defer c.refreshed(ctx, "images", m.Engine, m.RefreshImages)
		header := http.Header{}
		if o.RegistryAuth != "" {
			header.Set("X-Registry-Auth", o.RegistryAuth)
		}
		return streamOn(ctx, m, engine.Request{
			Method: http.MethodPost, Path: "/images/create", Query: o.Query, Header: header, Version: o.Version,
		}, told)
	})
	return spreadError(failed, len(members))
}

// streamOn sends a request that is answered with a stream of progress.
func streamOn(ctx context.Context, m *member, r engine.Request, told *jobReport) error {
	resp, err := m.Do(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return engine.ReadError(resp)
	}
	defer resp.Body.Close()
	told.agreed()
	return readMessages(resp.Body, func(_ []byte, msg *progressMessage) {
		msg.Status = strings.TrimPrefix(msg.Status, "Status: ")
		told.message(msg)
	})
}

// pulledName is what is pulled, as users write it.
func pulledName(query url.Values) string {
	name, tag := query.Get("fromImage"), query.Get("tag")
	switch {
	case tag == "":
		return name
	case strings.Contains(tag, ":"):
		return name + "@" + tag
	default:
		return name + ":" + tag
	}
}

// otherPlatform is how engines refuse an image that is for machines of another
// kind.
var otherPlatform = regexp.MustCompile(otherOS.String() + `|no matching manifest for |does not match the specified platform`)

// spreadError is the outcome of bringing an image to many engines. That it is
// not for the machines of some is no error as long as others could use it.
func spreadError(failed []engineFailure, asked int) error {
	if len(failed) == 0 {
		return nil
	}
	if len(failed) == asked {
		if err := sameFailure(failed); err != nil {
			return err
		}
		return someFailed(failed, nil, "")
	}
	for _, f := range failed {
		if !otherPlatform.MatchString(f.err.Error()) {
			return someFailed(failed, nil, "")
		}
	}
	return nil
}
