package cluster

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skep/skep/internal/engine"
)

// Emit passes lines of a progress stream to the client, for whom they must be
// flushed. The first call ends the time in which an error still is a status.
type Emit func(lines []byte) error

const (
	// progressEvery is how often one engine's progress is told at most, and
	// progressShare what each engine adds to that, lest a thousand engines
	// flood one client: some five hundred lines in a second are told, at most.
	progressEvery = 100 * time.Millisecond
	progressShare = 2 * time.Millisecond
	// manyStreamLines bounds the lines that are kept to be told at the end.
	manyStreamLines = 10000
)

// imageJob is something that many engines do with an image at the same time,
// each telling how far it is. An engine has one line of the client's terminal,
// under the node's name; only the newest of what it tells is shown there.
type imageJob struct {
	doing string // "Pulling busybox:latest..."
	// silent shows no progress but the lines that are to be printed as they are.
	silent bool
	// countsOnly shows only what moves a progress bar, which clients without a
	// terminal leave out.
	countsOnly bool
	// afterUpload tells nothing before the client has sent all that is to be
	// loaded: some read no answer before.
	afterUpload bool
	done        string // the last word of an engine that succeeded; "" for its own

	begin <-chan struct{} // closed when the client may be told something; nil for at once
	wake  chan struct{}   // has room for one; never closed

	parts []*jobPart // set before the work begins

	mu      sync.Mutex
	started bool     // an engine has agreed; guarded by mu
	streams []string // lines to be printed as they are, each once; guarded by mu
	seen    map[string]bool
}

// jobPart is one engine's part. What can change is guarded by the job's mu.
type jobPart struct {
	m       *member
	ctx     context.Context
	cancel  context.CancelCauseFunc
	line    []byte // the newest
	shown   []byte // the last that was emitted
	running bool
	err     error
}

// run has work done by every member, and emits their progress until all have
// ended. It tells who failed. A member that stops answering its probes fails,
// so that it is not waited for longer than that takes.
func (j *imageJob) run(ctx context.Context, members []*member, emit Emit, work func(ctx context.Context, m *member, told *jobReport) error) []engineFailure {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.wake = make(chan struct{}, 1)
	j.seen = map[string]bool{}
	j.parts = make([]*jobPart, len(members))
	for i, m := range members {
		j.parts[i] = &jobPart{m: m, running: true}
		j.parts[i].ctx, j.parts[i].cancel = context.WithCancelCause(ctx)
		j.parts[i].line = j.lineOf(j.parts[i], "", nil)
	}
	var wg sync.WaitGroup
	for _, p := range j.parts {
		wg.Go(func() {
			defer p.cancel(nil)
			err := work(p.ctx, p.m, &jobReport{j, p})
			if cause := context.Cause(p.ctx); err != nil && cause != nil {
				err = cause
			}
			j.ended(p, err)
		})
	}
	j.show(ctx, emit, cancel)
	wg.Wait()
	var failed []engineFailure
	for _, p := range j.parts {
		if p.err != nil {
			failed = append(failed, engineFailure{p.m, p.err})
		}
	}
	return failed
}

// show emits what is new, again and again, until all parts have ended.
func (j *imageJob) show(ctx context.Context, emit Emit, giveUp context.CancelFunc) {
	ticker := time.NewTicker(max(progressEvery, time.Duration(len(j.parts))*progressShare))
	defer ticker.Stop()
	for {
		lines, ended := j.news()
		if len(lines) > 0 {
			if err := emit(lines); err != nil {
				giveUp()
			}
		}
		if ended {
			return
		}
		select {
		case <-ticker.C:
			j.dropSilent()
		case <-j.wake:
		case <-ctx.Done():
			// Those who work see it too, and end.
			<-j.wake
		}
	}
}

// news gives the lines that were not emitted yet, and whether all have ended.
// At the end that is each engine's last line, and what is to be printed as it is.
func (j *imageJob) news() (lines []byte, ended bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ended = true
	for _, p := range j.parts {
		ended = ended && !p.running
	}
	if !j.started || !ended && !j.begun() {
		return nil, ended
	}
	for _, p := range j.parts {
		if !j.silent && !bytes.Equal(p.line, p.shown) {
			lines = append(lines, p.line...)
			p.shown = p.line
		}
	}
	if ended {
		for _, text := range j.streams {
			m := progressMessage{Stream: text}
			lines = append(lines, m.line()...)
		}
	}
	return lines, ended
}

func (j *imageJob) begun() bool {
	if j.begin == nil {
		return true
	}
	select {
	case <-j.begin:
		return true
	default:
		return false
	}
}

// dropSilent ends the parts of engines that do not answer any more: a stream
// that has begun would wait for them as long as their connection stands.
func (j *imageJob) dropSilent() {
	for _, p := range j.parts {
		if !p.m.Answers() {
			p.cancel(errSilent)
		}
	}
}

// errSilent ends what waits for an engine that does not answer its probes.
var errSilent = errors.New("the engine has stopped answering")

// answeringContext ends with ctx, or when the engine stops answering. It is
// for streams, which else would wait as long as their connection stands. The
// caller calls stop.
func answeringContext(ctx context.Context, e *engine.Engine) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !e.Answers() {
					cancel(errSilent)
				}
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}

// ended notes that a part is done.
func (j *imageJob) ended(p *jobPart, err error) {
	j.mu.Lock()
	p.running, p.err = false, err
	switch {
	case err != nil:
		p.line = j.lineOf(p, reasonOf(err), nil)
	case j.done != "":
		p.line = j.lineOf(p, j.done, nil)
	}
	last := true
	for _, other := range j.parts {
		last = last && !other.running
	}
	j.mu.Unlock()
	if last {
		j.signal()
	}
}

func (j *imageJob) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// lineOf makes the line of a part. It has details even where nothing is
// counted: only lines with details keep their place on a terminal.
func (j *imageJob) lineOf(p *jobPart, status string, detail []byte) []byte {
	m := progressMessage{ID: p.m.Name(), Status: j.doing, Detail: detail}
	if status != "" {
		m.Status += " : " + status
	}
	if len(detail) == 0 {
		m.Detail = []byte("{}")
	}
	if j.countsOnly && !m.counts() {
		return nil
	}
	return m.line()
}

// jobReport is what the work of one engine tells its job with.
type jobReport struct {
	job  *imageJob
	part *jobPart
}

// agreed says that the engine has begun, so that the outcome cannot be a mere
// status any more.
func (t *jobReport) agreed() {
	t.job.mu.Lock()
	first := !t.job.started
	t.job.started = true
	t.job.mu.Unlock()
	if first {
		t.job.signal()
	}
}

// message passes on what the engine told.
func (t *jobReport) message(m *progressMessage) {
	j := t.job
	j.mu.Lock()
	defer j.mu.Unlock()
	if m.Stream != "" && !j.countsOnly && !j.seen[m.Stream] && len(j.streams) < manyStreamLines {
		j.seen[m.Stream] = true
		j.streams = append(j.streams, m.Stream)
	}
	if m.Status == "" {
		return
	}
	status := m.Status
	if m.ID != "" {
		status += " " + m.ID
	}
	if line := j.lineOf(t.part, status, m.Detail); line != nil {
		t.part.line = line
	}
}
