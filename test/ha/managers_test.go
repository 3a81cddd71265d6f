//go:build linux

package ha_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHA breaks one thing after the other, on engines that are started once.
// Stores do not know each other: what is about them is done side by side.
func TestHA(t *testing.T) {
	s := newStage(t)
	t.Run("managers and stores", func(t *testing.T) {
		t.Run("etcd", func(t *testing.T) {
			t.Parallel()
			c := s.newCluster(t, startEtcd(t), 3)
			c.managersFail(t)
			c.storeFails(t)
		})
		t.Run("zookeeper", func(t *testing.T) {
			t.Parallel()
			c := s.newCluster(t, startZooKeeper(t), 2)
			t.Run("kill -9 of the primary", c.killPrimary)
			c.storeFails(t)
		})
		t.Run("consul", func(t *testing.T) {
			t.Parallel()
			c := s.newCluster(t, startConsul(t), 2)
			t.Run("kill -9 of the primary", c.killPrimary)
			c.storeIsCutOff(t)
		})
	})
	t.Run("engines", func(t *testing.T) {
		c := s.newCluster(t, startEtcd(t), 2)
		c.enginesFail(t)
		t.Run("a replica that has never met an engine moves its containers", c.inheritStranded)
	})
}

func (c *cluster) managersFail(t *testing.T) {
	t.Run("kill -9 of the primary", c.killPrimary)
	t.Run("a primary that was paused does not act when it goes on", c.pausePrimary)
	t.Run("a primary that is stopped hands over at once", c.stopPrimary)
}

// killPrimary: no create that was acknowledged is lost, none runs twice, and a
// replica serves soon.
func (c *cluster) killPrimary(t *testing.T) {
	primary, replicas := c.awaitAll(t)
	defer c.sweep(t)
	l := startLoad(t, c.own("kill"), c.managers...)
	primary.carries(t, l)
	killed := time.Now()
	primary.kill(t)
	for _, r := range replicas {
		t.Logf("%s: a create succeeds %s after the kill", r.name, l.servedAfter(t, killed, r, ttl+grace).Round(time.Millisecond))
	}
	primary.start(t)
	c.awaitAll(t)
	c.judge(t, l.finish())
}

// carries waits until the load goes through all managers.
func (m *manager) carries(t *testing.T, l *load) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		done := map[string]int{}
		for _, one := range l.soFar() {
			if one.acknowledged() {
				done[one.via]++
			}
		}
		for _, m := range l.managers {
			if done[m.name] < 4 {
				return fmt.Errorf("creates that have succeeded: %v", done)
			}
		}
		return nil
	})
}

func (c *cluster) pausePrimary(t *testing.T) {
	primary, replicas := c.awaitAll(t)
	defer c.sweep(t)
	l := startLoad(t, c.own("pause"), c.managers...)
	primary.carries(t, l)
	paused := time.Now()
	primary.pause(t)
	for _, r := range replicas {
		t.Logf("%s: a create succeeds %s after the pause", r.name, l.servedAfter(t, paused, r, ttl+grace).Round(time.Millisecond))
	}
	l.stop()
	l.sending.Wait()
	primary.resume(t)
	t.Logf("it is a replica %s after it goes on", primary.becomes(t, "replica", grace).Round(time.Millisecond))
	c.awaitAll(t)
	made := l.finish()
	for _, one := range made {
		if took := one.ended.Sub(one.sent); took > ttl+15*time.Second {
			t.Errorf("a client had to wait too long: %s", one)
		}
	}
	c.judge(t, made)
}

func (c *cluster) stopPrimary(t *testing.T) {
	primary, replicas := c.awaitAll(t)
	defer c.sweep(t)
	// A wait that ends while the primary is stopping is one that can finish.
	replicas[0].runs(t, c.own("short"), `"Cmd":["tiny","tick"],"HostConfig":{"NetworkMode":"none"}`)
	waited := make(chan string, 1)
	waiting, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		status, text, err := ask(waiting, replicas[0].socket, http.MethodPost, "/containers/"+c.own("short")+"/wait", "")
		waited <- fmt.Sprintf("%d %s%v", status, text, err)
	}()
	l := startLoad(t, c.own("stop"), c.managers...)
	primary.carries(t, l)
	stopped := time.Now()
	primary.signal(t, syscall.SIGTERM)
	for _, r := range replicas {
		t.Logf("%s: a create succeeds %s after the stop", r.name, l.servedAfter(t, stopped, r, handedOver).Round(time.Millisecond))
	}
	if status, text := replicas[0].call(t, 5*time.Second, http.MethodPost, "/containers/"+c.own("short")+"/kill", ""); status != http.StatusNoContent {
		t.Errorf("kill: %d %s", status, text)
	}
	if got := <-waited; !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"StatusCode":137}`) {
		t.Errorf("a docker wait through the primary that was stopped gave %q", got)
	}
	<-primary.done
	t.Logf("it has ended %s after the stop", time.Since(stopped).Round(time.Millisecond))
	primary.start(t)
	c.awaitAll(t)
	c.judge(t, l.finish())
}
