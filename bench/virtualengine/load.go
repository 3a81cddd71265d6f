package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bench measures one manager, one thing after the other.
type bench struct {
	options
	manager *process
	engines []string
	report  *report
}

// readyTimeout is how long the manager may take to know all engines.
const readyTimeout = 3 * time.Minute

func (b *bench) run(ctx context.Context) error {
	skep := newClient("http://skep", "unix", b.manager.socket)
	tcp := newClient("http://"+b.manager.tcp, "tcp", b.manager.tcp)
	if err := b.ready(ctx, skep); err != nil {
		return err
	}
	now, highest, err := b.manager.memory()
	if err != nil {
		return err
	}
	b.report.addMost("memory, all engines ready", now, 400, "MiB")
	b.report.addFigure("highest memory until ready", highest, "MiB")
	for _, step := range []struct {
		name string
		run  func(context.Context, *client, *client) error
	}{
		{"idle", b.idleCPU}, {"info", b.info}, {"list", b.listSome}, {"inspect", b.inspect},
		{"create", b.create}, {"list-all", b.listAll}, {"churn", b.churn},
	} {
		profiled := b.profile(ctx, step.name)
		err := step.run(ctx, skep, tcp)
		if err := errors.Join(err, profiled()); err != nil {
			return err
		}
	}
	now, highest, err = b.manager.memory()
	b.report.addMost("memory at the end", now, 400, "MiB")
	b.report.addFigure("highest memory", highest, "MiB")
	return err
}

// ready waits until every engine is healthy and every container is known.
func (b *bench) ready(ctx context.Context, skep *client) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		var info struct {
			Containers   int
			SystemStatus [][2]string
		}
		healthy := 0
		body, err := skep.do(ctx, http.MethodGet, "/info", "")
		if err == nil && json.Unmarshal(body, &info) == nil {
			for _, row := range info.SystemStatus {
				if strings.HasSuffix(row[0], "Status") && row[1] == "Healthy" {
					healthy++
				}
			}
			if healthy == b.options.engines && info.Containers == b.containers {
				b.report.addMost("ready", time.Since(b.manager.began).Seconds(), 20, "s")
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: %d of %d engines healthy, %d containers (last error: %v)", readyTimeout, healthy, b.options.engines, info.Containers, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *bench) idleCPU(ctx context.Context, _, _ *client) error {
	if b.idle == 0 {
		return nil
	}
	if !wait(ctx, 3*time.Second) { // let what the start left behind be done
		return ctx.Err()
	}
	before, err := b.manager.cpu()
	if err != nil {
		return err
	}
	if !wait(ctx, b.idle) {
		return ctx.Err()
	}
	after, err := b.manager.cpu()
	b.report.addMost("idle processor time", 100*(after-before).Seconds()/b.idle.Seconds(), 5, "% of a core")
	return err
}

func (b *bench) info(ctx context.Context, _, tcp *client) error {
	times, err := b.parallel(ctx, b.duration, func(int) (time.Duration, error) { return tcp.timed(ctx, http.MethodGet, "/info", "") })
	b.report.addFigure("info p50", percentile(times, 50), "ms")
	b.report.addMost("info p99", percentile(times, 99), 36, "ms")
	return err
}

func (b *bench) listSome(ctx context.Context, _, tcp *client) error {
	times, err := b.parallel(ctx, b.duration, func(int) (time.Duration, error) {
		return tcp.timed(ctx, http.MethodGet, "/containers/json?limit=50", "")
	})
	b.report.addFigure("list of 50 p50", percentile(times, 50), "ms")
	b.report.addMost("list of 50 p99", percentile(times, 99), 20, "ms")
	return err
}

// inspect compares skep with the engines themselves, asked in the same way.
func (b *bench) inspect(ctx context.Context, _, tcp *client) error {
	direct := b.direct()
	own, err := b.parallel(ctx, b.duration/2, func(n int) (time.Duration, error) {
		i := n % len(direct)
		return direct[i].timed(ctx, http.MethodGet, "/containers/sim-"+strconv.Itoa(i)+"-c0/json", "")
	})
	if err != nil {
		return err
	}
	through, err := b.parallel(ctx, b.duration, func(n int) (time.Duration, error) {
		i := strconv.Itoa(n % len(direct))
		return tcp.timed(ctx, http.MethodGet, "/containers/sim-"+i+"-c0/json", "")
	})
	b.report.addFigure("inspect p99, the engine itself", percentile(own, 99), "ms")
	b.report.addFigure("inspect p99 through skep", percentile(through, 99), "ms")
	b.report.addMost("inspect p99 above the engine's p99", percentile(through, 99)-percentile(own, 99), 5, "ms")
	return err
}

const createBody = `{"Image":"busybox:latest","Cmd":["sleep","infinity"],"HostConfig":{"Memory":1048576}}`

// create measures creates on the engines themselves and through skep, and how
// much later than asked for the container is made on its engine.
func (b *bench) create(ctx context.Context, _, tcp *client) error {
	direct := b.direct()
	own, err := b.parallel(ctx, b.duration/2, func(n int) (time.Duration, error) {
		return direct[n%len(direct)].cycle(ctx)
	})
	if err != nil {
		return err
	}
	through, err := b.parallel(ctx, b.duration, func(int) (time.Duration, error) { return tcp.cycle(ctx) })
	if err != nil {
		return err
	}
	delays, err := b.parallel(ctx, b.duration, func(int) (time.Duration, error) { return tcp.schedulingDelay(ctx) })
	b.report.addFigure("create p50, the engine itself", percentile(own, 50), "ms")
	b.report.addFigure("create p99, the engine itself", percentile(own, 99), "ms")
	b.report.addFigure("create p50 through skep", percentile(through, 50), "ms")
	b.report.addFigure("create p99 through skep", percentile(through, 99), "ms")
	b.report.addFigure("scheduling delay p50", percentile(delays, 50), "ms")
	b.report.addMost("scheduling delay p99", percentile(delays, 99), 10, "ms")
	return err
}

func (b *bench) listAll(ctx context.Context, _, tcp *client) error {
	var times []time.Duration
	for range 10 {
		began := time.Now()
		body, err := tcp.do(ctx, http.MethodGet, "/containers/json?all=1", "")
		if err != nil {
			return err
		}
		times = append(times, time.Since(began))
		var list []struct{ ID string }
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		if len(list) < b.containers {
			return fmt.Errorf("the list has %d containers of %d", len(list), b.containers)
		}
	}
	b.report.addFigure("list of all, fastest of 10", percentile(times, 0), "ms")
	b.report.addMost("list of all, slowest of 10", percentile(times, 100), 500, "ms")
	return nil
}

// churn makes and removes containers and watches the memory.
func (b *bench) churn(ctx context.Context, _, tcp *client) error {
	if b.cycles == 0 {
		return nil
	}
	const samples = 10
	for s := range samples {
		var done atomic.Int64
		part := int64(b.cycles / samples)
		_, err := b.parallel(ctx, time.Hour, func(int) (time.Duration, error) {
			if done.Add(1) > part {
				return 0, errEnough
			}
			return tcp.cycle(ctx)
		})
		if err != nil {
			return err
		}
		now, _, err := b.manager.memory()
		if err != nil {
			return err
		}
		b.report.Memory = append(b.report.Memory, sample{Cycles: (s + 1) * b.cycles / samples, MiB: round(now)})
	}
	first, last := b.report.Memory[samples/2-1].MiB, b.report.Memory[samples-1].MiB
	b.report.addMost(fmt.Sprintf("memory growth over the last half of %d cycles", b.cycles), 100*(last-first)/first, 5, "%")
	return nil
}

func (b *bench) direct() []*client {
	out := make([]*client, len(b.engines))
	for i, address := range b.engines {
		out[i] = newClient("http://"+address, "tcp", address)
	}
	return out
}

// errEnough ends a client's loop.
var errEnough = errors.New("enough")

// parallel lets the clients call do, with a number that counts up over all of
// them, for the duration, and gives all times.
func (b *bench) parallel(ctx context.Context, d time.Duration, do func(n int) (time.Duration, error)) ([]time.Duration, error) {
	var (
		wg    sync.WaitGroup
		n     atomic.Int64
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	end := time.Now().Add(d)
	for range b.clients {
		wg.Go(func() {
			var times []time.Duration
			var err error
			for time.Now().Before(end) && ctx.Err() == nil {
				var took time.Duration
				if took, err = do(int(n.Add(1))); err != nil {
					break
				}
				times = append(times, took)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if err != nil && !errors.Is(err, errEnough) && first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return all, errors.Join(first, ctx.Err())
}

// client is an HTTP client that always talks to one address.
type client struct {
	base string
	http *http.Client
}

func newClient(base, network, address string) *client {
	return &client{base, &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost: 64, DisableCompression: true, IdleConnTimeout: 5 * time.Second,
	}}}
}

// do gives the whole answer.
func (c *client) do(ctx context.Context, method, path, body string) ([]byte, error) {
	var answer []byte
	err := c.ask(ctx, method, path, body, func(r io.Reader) (err error) {
		answer, err = io.ReadAll(r)
		return err
	})
	return answer, err
}

// timed reads the answer and drops it: the clients share their processors with
// what they measure, and should take little of them.
func (c *client) timed(ctx context.Context, method, path, body string) (time.Duration, error) {
	began := time.Now()
	err := c.ask(ctx, method, path, body, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	return time.Since(began), err
}

func (c *client) ask(ctx context.Context, method, path, body string, read func(io.Reader) error) error {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return read(resp.Body)
}

// create gives the path of the container that it makes.
func (c *client) create(ctx context.Context) (path string, err error) {
	var made struct{ ID string }
	body, err := c.do(ctx, http.MethodPost, "/containers/create", createBody)
	if err == nil {
		err = json.Unmarshal(body, &made)
	}
	return "/containers/" + made.ID, err
}

func (c *client) remove(ctx context.Context, path string) error {
	_, err := c.do(ctx, http.MethodDelete, path+"?force=1", "")
	return err
}

// cycle makes a container and removes it, and gives the time of the create.
func (c *client) cycle(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	path, err := c.create(ctx)
	took := time.Since(began)
	if err != nil {
		return took, err
	}
	return took, c.remove(ctx, path)
}

// schedulingDelay makes a container, looks at when its engine says that it was
// made, and removes it. It gives the time from the request until then.
func (c *client) schedulingDelay(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	path, err := c.create(ctx)
	if err != nil {
		return 0, err
	}
	body, err := c.do(ctx, http.MethodGet, path+"/json", "")
	if err != nil {
		return 0, err
	}
	var shown struct{ Created time.Time }
	if err := json.Unmarshal(body, &shown); err != nil {
		return 0, err
	}
	return shown.Created.Sub(began), c.remove(ctx, path)
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// percentile gives the p-th percentile in milliseconds; times are sorted here.
func percentile(times []time.Duration, p int) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	i := min(len(times)-1, len(times)*p/100)
	return float64(times[i].Microseconds()) / 1000
}
