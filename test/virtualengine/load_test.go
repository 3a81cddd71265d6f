//go:build linux

package virtualengine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLoad starts many containers at once, which shows whether those that are
// under way are counted.
func TestLoad(t *testing.T) {
	u := newUser(t)
	const total, atOnce = 200, 50
	// together runs n commands, atOnce at a time, and gives their results.
	together := func(n, atOnce int, args func(i int) []string) []result {
		results := make([]result, n)
		slots := make(chan struct{}, atOnce)
		var wg sync.WaitGroup
		for i := range n {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				results[i] = u.docker(args(i)...)
			})
		}
		wg.Wait()
		return results
	}
	u.sub("200 docker run, 50 at a time, all succeed and are spread evenly", func(u *user) {
		began := time.Now()
		for _, r := range together(total, atOnce, func(i int) []string {
			return []string{"run", "-d", "--network", "none", "--name", fmt.Sprint("load", i), tiny, "tiny", "sleep"}
		}) {
			r.ok()
		}
		u.t.Logf("%d containers after %s", total, time.Since(began).Round(time.Millisecond))
		nodes := map[string]int{}
		for _, line := range u.docker("ps", "--format", "{{.Names}}").ok().within(2 * time.Second).lines() {
			node, _, _ := strings.Cut(line, "/")
			nodes[node]++
		}
		sum, least, most := 0, total, 0
		for _, n := range nodes {
			sum, least, most = sum+n, min(least, n), max(most, n)
		}
		if sum != total || len(nodes) != machines || most-least > 1 {
			u.t.Errorf("%d containers are on %v", sum, nodes)
		}
	})
	u.sub("no engine is given more than its slots", func(u *user) {
		there := len(u.names("-a", "--filter", "node=n3"))
		made := 0
		for _, r := range together(25, 25, func(int) []string {
			return []string{"create", "--network", "none", "-e", "constraint:node==n3", tiny}
		}) {
			if r.code == 0 {
				made++
				continue
			}
			r.exits(1).complains(unplaceable, "[available container slots]", fmt.Sprintf("1 node: no container slot of %d is free", slotsOfN3))
		}
		equal(u.t, "containers on n3", there+made, slotsOfN3)
		equal(u.t, "containers that the engine has", len(u.on("n3").names("-a")), slotsOfN3)
	})
	u.sub("no engine is promised more memory than it has", func(u *user) {
		var memory int64
		if _, err := fmt.Sscan(u.on("n1").out("info", "-f", "{{.MemTotal}}"), &memory); err != nil {
			u.t.Fatal(err)
		}
		made := 0
		// Three of these fit on an engine, four do not.
		for _, r := range together(12, 12, func(i int) []string {
			return []string{"create", "--network", "none", "--memory", fmt.Sprint(memory * 3 / 10), "-e", "constraint:node!=n3", tiny}
		}) {
			if r.code == 0 {
				made++
				continue
			}
			r.exits(1).complains(unplaceable, "no resources available to schedule container")
		}
		equal(u.t, "containers made", made, 6)
	})
	u.sub("all are listed, and each is found", func(u *user) {
		for i := range 10 {
			u.docker("inspect", fmt.Sprint("load", i*20)).ok().within(2 * time.Second)
		}
		u.docker("info").ok().within(2 * time.Second).shows(fmt.Sprintf("Running: %d\n", total))
	})
	u.sub("docker rm -f of all, 20 at a time", func(u *user) {
		ids := u.docker("ps", "-aq").ok().lines()
		const each = 10
		began := time.Now()
		for _, r := range together((len(ids)+each-1)/each, 20, func(i int) []string {
			return append([]string{"rm", "-f"}, ids[i*each:min(len(ids), (i+1)*each)]...)
		}) {
			r.ok()
		}
		u.t.Logf("%d containers removed after %s", len(ids), time.Since(began).Round(time.Millisecond))
		sameList(u.t, "docker ps -a", u.names("-a"), nil)
	})
}
