//go:build linux

package virtualengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/skep/skep/internal/lab"
)

// sweep brings the stage to how every test begins: all machines on, nothing on
// the engines but the image tiny, and the manager knows.
func (u *user) sweep() {
	u.t.Helper()
	s := u.stage
	err := s.sweepEngines(u.t.Context())
	if err != nil {
		// An engine that was killed while it was in a swarm may keep networks of it
		// that it refuses to remove, until it starts anew.
		u.t.Logf("sweep once more, with the engines started anew: %v", err)
		u.do((*lab.Lab).Stop, s.names()...)
		err = s.sweepEngines(u.t.Context())
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.awaitEngines(machines)
	u.eventually(10*time.Second, func() error {
		if left := u.names("-a"); len(left) > 0 {
			return fmt.Errorf("docker ps -a shows what is gone: %q", left)
		}
		return nil
	})
}

// names are those of all machines.
func (s *stage) names() (names []string) {
	for _, m := range s.lab.Machines() {
		names = append(names, m.Name)
	}
	return names
}

// sweepEngines turns all machines on and sweeps their engines.
func (s *stage) sweepEngines(ctx context.Context) error {
	if err := s.lab.Up(ctx, machines); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	errs := make([]error, machines)
	var wg sync.WaitGroup
	for i, m := range s.lab.Machines() {
		wg.Go(func() {
			if err := sweepEngine(ctx, m); err != nil {
				errs[i] = fmt.Errorf("sweep %s: %w", m.Name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func sweepEngine(ctx context.Context, m lab.Machine) error {
	c, err := client.New(client.WithHost(m.Host()))
	if err != nil {
		return err
	}
	defer c.Close()
	containers, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return err
	}
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	errs := make([]error, len(containers.Items))
	for i, item := range containers.Items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = sweepContainer(ctx, c, item.ID)
		})
	}
	wg.Wait()
	return errors.Join(append(errs, leaveSwarm(ctx, c), sweepNetworks(ctx, c), sweepVolumes(ctx, c), sweepImages(ctx, c))...)
}

func sweepContainer(ctx context.Context, c *client.Client, id string) error {
	for tries := 0; ; tries++ {
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case errdefs.IsNotFound(err), err != nil && strings.Contains(err.Error(), "already in progress"):
			return nil
		case err == nil || tries == 10 || !strings.Contains(err.Error(), "directory not empty"):
			return err
		}
		// An engine that has just been started may still write into it.
		time.Sleep(200 * time.Millisecond)
	}
}

func leaveSwarm(ctx context.Context, c *client.Client) error {
	_, err := c.SwarmLeave(ctx, client.SwarmLeaveOptions{Force: true})
	if errdefs.IsUnavailable(err) { // it is in none
		return nil
	}
	return err
}

func sweepNetworks(ctx context.Context, c *client.Client) error {
	networks, err := c.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range networks.Items {
		if !slices.Contains([]string{"bridge", "host", "none"}, n.Name) {
			_, err := c.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func sweepVolumes(ctx context.Context, c *client.Client) error {
	volumes, err := c.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range volumes.Items {
		_, err := c.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func sweepImages(ctx context.Context, c *client.Client) error {
	images, err := c.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return err
	}
	var refs []string
	for _, image := range images.Items {
		if !slices.Contains(image.RepoTags, tiny) {
			refs = append(refs, image.ID)
			continue
		}
		for _, ref := range append(image.RepoTags, image.RepoDigests...) {
			if ref != tiny {
				refs = append(refs, ref)
			}
		}
	}
	// An image goes only after those that were made of it, and of two that are
	// equally old the list does not say which that is.
	for {
		var left []string
		var errs []error
		for _, ref := range refs {
			_, err := c.ImageRemove(ctx, ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
			if err != nil && !errdefs.IsNotFound(err) {
				left, errs = append(left, ref), append(errs, err)
			}
		}
		if len(left) == 0 || len(left) == len(refs) {
			return errors.Join(errs...)
		}
		refs = left
	}
}
