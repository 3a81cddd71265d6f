package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// spool is a file that one writes while many read it, each from its beginning
// and at its own pace: who is slow, or has given up, delays nobody else. The
// file has no name, so that nothing is left behind whatever happens.
//
// It grows to the size of what is written, but leaves others room on its file
// system. The writer ends it with finish. close frees the disk and may come at
// any time; readers that are not at the end then fail.
type spool struct {
	file *os.File
	// room says how much of the file system is free, and how large it is.
	room      func() (free, total int64, err error)
	unchecked int64 // bytes written since room was asked; the writer's

	mu    sync.Mutex
	size  int64         // bytes that are there to be read; guarded by mu, as are all below
	end   error         // what readers get after the last byte; nil while more may come
	grown chan struct{} // closed at the next change; nil when nobody waits for it
}

// errSpoolClosed ends the readers of a spool that was closed under them.
var errSpoolClosed = errors.New("the copy was given up")

// newSpool makes a spool in dir.
func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "skep-image-*")
	if err != nil {
		return nil, spoolError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, spoolError(err)
	}
	return &spool{file: f, room: func() (free, total int64, err error) { return roomAt(f) }, unchecked: roomEvery}, nil
}

// spoolDir is where images are kept on their way to the engines. They may be
// large, and the usual directory for temporary files often is memory.
func spoolDir() string {
	const roomy = "/var/tmp"
	if os.Getenv("TMPDIR") == "" {
		if info, err := os.Stat(roomy); err == nil && info.IsDir() {
			return roomy
		}
	}
	return os.TempDir()
}

func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("no room to keep the image while the engines load it: %w: free some space there, or start skep with TMPDIR set to a directory that has room", err)
	}
	return fmt.Errorf("keep the image while the engines load it: %w", err)
}

// Write adds to the end. There must be one writer at a time.
func (s *spool) Write(p []byte) (int, error) {
	if err := s.leaveRoom(len(p)); err != nil {
		return 0, err
	}
	// Only the writer changes size.
	n, err := s.file.WriteAt(p, s.written())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += int64(n)
	s.wake()
	if err != nil {
		return n, spoolError(err)
	}
	return n, nil
}

func (s *spool) written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// finish says that nothing more will be written. Readers get err after the
// last byte, and io.EOF for nil. The first finish counts.
func (s *spool) finish(err error) {
	if err == nil {
		err = io.EOF
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = err
		s.wake()
	}
}

// wake lets those go on who wait for a change; s.mu is held.
func (s *spool) wake() {
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
}

// close frees the disk.
func (s *spool) close() {
	s.finish(errSpoolClosed)
	s.file.Close()
}

// fill copies r to the spool's end and finishes it, with r's error if it has
// one, or that of ctx. Of a reader that hangs it waits for the next byte.
func (s *spool) fill(ctx context.Context, r io.Reader) error {
	_, err := io.Copy(s, readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := r.Read(p)
		if err != nil && err != io.EOF {
			err = fmt.Errorf("read the archive: %w", err)
		}
		return n, err
	}))
	s.finish(err)
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// reader reads the spool from its beginning, and waits where it is not written
// yet. It ends with ctx, or when it is closed.
func (s *spool) reader(ctx context.Context) io.ReadCloser {
	ctx, cancel := context.WithCancelCause(ctx)
	return &spoolReader{spool: s, ctx: ctx, cancel: cancel}
}

type spoolReader struct {
	spool  *spool
	ctx    context.Context
	cancel context.CancelCauseFunc
	at     int64
}

func (r *spoolReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		room, grown, end := r.spool.ahead(r.at)
		switch {
		case room > 0:
			n, err := r.spool.file.ReadAt(p[:min(int64(len(p)), room)], r.at)
			r.at += int64(n)
			if n > 0 {
				return n, nil
			}
			if errors.Is(err, os.ErrClosed) {
				err = errSpoolClosed
			}
			return 0, err
		case end != nil:
			return 0, end
		}
		select {
		case <-grown:
		case <-r.ctx.Done():
		}
	}
}

// ahead says how many bytes may be read from at on, or what comes instead of
// them: a channel that is closed when there is something new, or the end.
func (s *spool) ahead(at int64) (room int64, grown <-chan struct{}, end error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room = s.size - at; room > 0 || s.end != nil {
		return room, nil, s.end
	}
	if s.grown == nil {
		s.grown = make(chan struct{})
	}
	return 0, s.grown, nil
}

// Close ends the reader; a Read that waits returns.
func (r *spoolReader) Close() error {
	r.cancel(io.ErrClosedPipe)
	return nil
}
