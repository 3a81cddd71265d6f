package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// Event is one event of an engine.
type Event struct {
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
	// Raw is the event as the engine sent it, without a newline.
	Raw json.RawMessage `json:"-"`
}

const (
	maxEvent   = 1 << 20 // bytes of one event
	lineBuffer = 512     // bytes; one for each engine, for as long as it is there
	// After a break the stream is resumed this much before its last event:
	// engines stamp events before they order them.
	resumeOverlap = 2 * time.Second
	resumeMin     = 100 * time.Millisecond
	resumeMax     = 5 * time.Second
	// pastEvents is how many past events are taken of an engine that remembers
	// more than the 256 that most do: the newest.
	pastEvents = 8192
	// seenEvents is how many events are remembered to drop repeated ones; an
	// engine keeps 256 for those who resume.
	seenEvents = 1024
)

// eventLog follows one engine's events over any number of connections and
// passes on each event once.
type eventLog struct {
	last time.Time // of the newest event, by the engine's clock
	// seen are hashes: events can be long, and there are many engines.
	seed maphash.Seed
	seen map[uint64]struct{}
	ring []uint64 // of at most seenEvents; grows, since most engines are quiet
	next int      // where ring begins, once it is full
}

func newEventLog(start time.Time) *eventLog {
	return &eventLog{last: start, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// since is where to resume, as the API wants it.
func (l *eventLog) since() string {
	t := l.last.Add(-resumeOverlap)
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// first says whether the event was not seen before, and remembers it.
func (l *eventLog) first(ev *Event) bool {
	key := maphash.Bytes(l.seed, ev.Raw)
	if _, ok := l.seen[key]; ok {
		return false
	}
	if len(l.ring) < seenEvents {
		l.ring = append(l.ring, key)
	} else {
		delete(l.seen, l.ring[l.next])
		l.ring[l.next] = key
		l.next = (l.next + 1) % seenEvents
	}
	l.seen[key] = struct{}{}
	if t := time.Unix(0, ev.TimeNano); t.After(l.last) {
		l.last = t
	}
	return true
}

// followEvents reads the stream, and opens it again each time that it ends,
// until ctx is done. resumed is called when it is there again; what happened
// while it was not is told by the engine (the last 256 events) and found by the
// refresh that follows.
func (e *Engine) followEvents(ctx context.Context, log *eventLog, stream io.ReadCloser, resumed func(context.Context) error) {
	delay := resumeMin
	for {
		began := time.Now()
		err := e.passEvents(log, stream)
		stream.Close()
		if time.Since(began) > resumeMax {
			delay = resumeMin
		}
		for stream = nil; stream == nil; {
			if ctx.Err() != nil {
				return
			}
			e.cfg.Logger.Debug("no event stream", "engine", e.Name(), "addr", e.addr, "err", err)
			e.Poke()
			if !sleep(ctx, delay/2+rand.N(delay)) {
				return
			}
			delay = min(2*delay, resumeMax)
			stream, err = e.resumeEvents(ctx, log, resumed)
		}
	}
}

func (e *Engine) resumeEvents(ctx context.Context, log *eventLog, resumed func(context.Context) error) (io.ReadCloser, error) {
	stream, err := e.openEvents(ctx, log)
	if errdefs.IsInvalidArgument(err) {
		// The engine may be a newer one now, and refuse the version we ask in.
		e.dirty.mark(func(d *dirtySet) { d.identity = true })
	}
	if err != nil {
		return nil, err
	}
	if err := resumed(ctx); err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

// openEvents opens the stream where the log ends. The caller closes it.
func (e *Engine) openEvents(ctx context.Context, log *eventLog) (io.ReadCloser, error) {
	// The wait for the stream's head is bounded by hand: it may then last for ever.
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(e.cfg.CallTimeout, func() {
		cancel(fmt.Errorf("its event stream did not open within %s", e.cfg.CallTimeout))
	})
	defer late.Stop()
	resp, err := e.send(ctx, Request{Method: http.MethodGet, Path: "/events", Query: url.Values{"since": {log.since()}}})
	if err == nil && resp.StatusCode != http.StatusOK {
		err = ReadError(resp)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &bodyWithCancel{resp.Body, cancel}, nil
}

// passEvents passes on what the stream brings until it ends.
func (e *Engine) passEvents(log *eventLog, stream io.Reader) error {
	return readEvents(stream, func(ev Event) {
		if !log.first(&ev) {
			return
		}
		e.noteEvent(ev)
		e.cfg.Observer.EngineEvent(e, ev)
	}, func(err error) {
		e.cfg.Logger.Warn("event cannot be read", "engine", e.Name(), "err", err)
		e.dirty.mark((*dirtySet).inventory)
	})
}

// readEvents calls each for every event in a stream of JSON lines, and skipped
// for every line that is no event: to end the stream for it would bring the same
// line again when it is resumed. It always returns an error, io.EOF at the end.
func readEvents(r io.Reader, each func(Event), skipped func(error)) error {
	lines := bufio.NewReaderSize(r, lineBuffer)
	for {
		line, err := readLine(lines, maxEvent)
		if line = bytes.TrimSpace(line); len(line) > 0 && err == nil {
			ev, perr := ParseEvent(line)
			if perr != nil {
				skipped(perr)
			} else {
				each(ev)
			}
		}
		switch {
		case errors.Is(err, errLongLine):
			skipped(err)
		case err != nil:
			return err
		}
	}
}

var errLongLine = errors.New("line is too long")

// readLine reads up to the next newline. What is longer than limit is read to
// its end and dropped.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > limit; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err // a line without an end is none
		case long:
			return nil, errLongLine
		default:
			return line, nil
		}
	}
}

// ParseEvent reads one event; it keeps a copy of line.
func ParseEvent(line []byte) (Event, error) {
	var ev Event
	if err := json.Unmarshal(line, &ev); err != nil {
		return ev, fmt.Errorf("decode event: %w", err)
	}
	ev.Raw = append(json.RawMessage(nil), line...)
	if ev.TimeNano == 0 {
		ev.TimeNano = ev.Time * int64(time.Second)
	}
	return ev, nil
}

// PastEvents gives the events of the past that the engine remembers; query is
// the API's, with an until.
func (e *Engine) PastEvents(ctx context.Context, query url.Values) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	resp, err := e.Do(ctx, Request{Method: http.MethodGet, Path: "/events", Query: query})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, ReadError(resp)
	}
	defer resp.Body.Close()
	var events []Event
	err = readEvents(resp.Body, func(ev Event) {
		if len(events) == 2*pastEvents {
			events = append(events[:0], events[pastEvents:]...)
		}
		events = append(events, ev)
	}, func(error) {})
	events = events[max(0, len(events)-pastEvents):]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return events, err
}

// noteEvent marks what an event says has changed.
func (e *Engine) noteEvent(ev Event) {
	switch ev.Type {
	case "container":
		e.noteContainerEvent(ev)
	case "image":
		e.dirty.mark(func(d *dirtySet) { d.images = true })
	case "network":
		e.dirty.mark(func(d *dirtySet) {
			d.networks = true
			if id := ev.Actor.Attributes["container"]; id != "" {
				d.container(id, e.seq.Load())
			}
		})
	case "volume":
		e.dirty.mark(func(d *dirtySet) { d.volumes = true })
	case "daemon":
		e.dirty.mark(func(d *dirtySet) { d.identity = true })
	}
}

// quiet are container actions that change nothing an inventory shows.
var quiet = map[string]bool{
	"top": true, "resize": true, "export": true, "attach": true, "detach": true,
	"extract-to-dir": true, "archive-path": true, "copy": true, "exec_detach": true,
}

func (e *Engine) noteContainerEvent(ev Event) {
	// exec_create and kin carry their command after a colon.
	action, _, _ := strings.Cut(ev.Action, ":")
	if quiet[action] || strings.HasPrefix(action, "exec_") {
		return
	}
	if action == "destroy" && ev.Actor.ID != "" {
		e.ForgetContainer(ev.Actor.ID) // the engine's word; a question under way may still bring an older one
		return
	}
	e.dirty.mark(func(d *dirtySet) {
		if ev.Actor.ID == "" {
			d.allContainers = true
			return
		}
		d.container(ev.Actor.ID, e.markedAt(action))
		if action == "commit" {
			d.images = true
		}
	})
}
