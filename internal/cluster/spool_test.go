package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func testSpool(t *testing.T) *spool {
	t.Helper()
	s, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func TestSpool_everyReaderGetsEverything(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := testSpool(t)
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	var readers sync.WaitGroup
	for i := range 8 {
		r := s.reader(t.Context())
		readers.Go(func() {
			defer r.Close()
			var in io.Reader = r
			if i%2 == 1 {
				in = iotest.HalfReader(r)
			}
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("reader %d got %d bytes, %v", i, len(got), err)
			}
		})
	}
	if err := s.fill(t.Context(), iotest.HalfReader(bytes.NewReader(want))); err != nil {
		t.Fatal(err)
	}
	late, err := io.ReadAll(s.reader(t.Context()))
	if err != nil || !bytes.Equal(late, want) {
		t.Errorf("a reader that came late got %d bytes, %v", len(late), err)
	}
	readers.Wait()
}

func TestSpool_readerThatDoesNotReadDelaysNobody(t *testing.T) {
	s := testSpool(t)
	idle := s.reader(t.Context())
	quick := s.reader(t.Context())
	for range 64 {
		if _, err := s.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	s.finish(nil)
	if n, err := io.Copy(io.Discard, quick); n != 64*64<<10 || err != nil {
		t.Errorf("quick reader read %d, %v", n, err)
	}
	if n, err := io.Copy(io.Discard, idle); n != 64*64<<10 || err != nil {
		t.Errorf("idle reader read %d, %v when it began at last", n, err)
	}
}

func TestSpool_readerWaitsForMore(t *testing.T) {
	s := testSpool(t)
	r := s.reader(t.Context())
	_, _ = s.Write([]byte("one"))
	mustRead(t, r, "one")
	got := make(chan string)
	go func() {
		p := make([]byte, 10)
		n, err := r.Read(p)
		if err != nil {
			t.Error(err)
		}
		got <- string(p[:n])
	}()
	select {
	case early := <-got:
		t.Fatalf("read %q before it was written", early)
	case <-time.After(5 * time.Millisecond):
	}
	_, _ = s.Write([]byte("two"))
	if text := <-got; text != "two" {
		t.Errorf("read %q", text)
	}
}

func TestSpool_whatFailsTheWriterReachesReadersAfterTheLastByte(t *testing.T) {
	s := testSpool(t)
	r := s.reader(t.Context())
	broken := errors.New("the client hung up")
	err := s.fill(t.Context(), io.MultiReader(strings.NewReader("part"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("fill: %v", err)
	}
	mustRead(t, r, "part")
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, broken) {
		t.Errorf("after the last byte: %v", err)
	}
}

func TestSpool_waitingReadersEnd(t *testing.T) {
	ended := errors.New("enough")
	for name, end := range map[string]struct {
		how  func(s *spool, r io.Closer, cancel context.CancelCauseFunc)
		want error
	}{
		"with their context":           {func(_ *spool, _ io.Closer, cancel context.CancelCauseFunc) { cancel(ended) }, ended},
		"when they are closed":         {func(_ *spool, r io.Closer, _ context.CancelCauseFunc) { r.Close() }, io.ErrClosedPipe},
		"when the spool is closed":     {func(s *spool, _ io.Closer, _ context.CancelCauseFunc) { s.close() }, errSpoolClosed},
		"when the writer says it ends": {func(s *spool, _ io.Closer, _ context.CancelCauseFunc) { s.finish(nil) }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := testSpool(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			r := s.reader(ctx)
			done := make(chan error)
			go func() {
				_, err := r.Read(make([]byte, 1))
				done <- err
			}()
			time.Sleep(time.Millisecond) // the more often it waits already, the better
			end.how(s, r, cancel)
			if err := <-done; !errors.Is(err, end.want) {
				t.Errorf("read ended with %v, want %v", err, end.want)
			}
		})
	}
}

func TestSpool_closedWhileItIsRead(t *testing.T) {
	s := testSpool(t)
	_, _ = s.Write([]byte("all"))
	r := s.reader(t.Context())
	s.close()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errSpoolClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("write after close went well")
	}
}

func TestSpool_fillEndsWithItsContext(t *testing.T) {
	s := testSpool(t)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := s.fill(ctx, readerFunc(func(p []byte) (int, error) {
		if n++; n == 3 {
			cancel()
		}
		return copy(p, "x"), nil
	}))
	if !errors.Is(err, context.Canceled) || s.written() != 3 {
		t.Errorf("fill: %v after %d bytes", err, s.written())
	}
}

func TestSpool_leavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s, err := newSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("there is %v, %v", entries, err)
	}
}

func TestSpool_fullDiskSaysWhatToDo(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	s := &spool{file: full}
	defer s.close()
	r := s.reader(t.Context())
	err = s.fill(t.Context(), strings.NewReader("image"))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("fill: %v", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("read: %v", err)
	}
}

func TestNewSpool_withoutItsDirectory(t *testing.T) {
	if _, err := newSpool("/does/not/exist"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("newSpool: %v", err)
	}
}

func TestSpool_leavesRoomOnItsFileSystem(t *testing.T) {
	for name, c := range map[string]struct {
		free, total int64
		takes       bool
	}{
		"as long as there is plenty":              {free: 50 << 30, total: 100 << 30, takes: true},
		"a gigabyte of a large one":               {free: 1<<30 - 1, total: 100 << 30},
		"more than a gigabyte is not asked of it": {free: 1<<30 + 1<<20, total: 100 << 30, takes: true},
		"a twentieth of a small one":              {free: 4 << 20, total: 100 << 20},
		"more than a twentieth":                   {free: 8 << 20, total: 100 << 20, takes: true},
		"when there is none at all":               {free: 0, total: 100 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSpool(t)
			s.room = func() (int64, int64, error) { return c.free, c.total, nil }
			_, err := s.Write([]byte("image"))
			if c.takes != (err == nil) {
				t.Errorf("it takes more: %v", err)
			}
			if err != nil && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "MB must stay so") || !strings.Contains(err.Error(), "TMPDIR")) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestSpool_looksForRoomAgainAsItGrows(t *testing.T) {
	s := testSpool(t)
	free := int64(100 << 20)
	s.room = func() (int64, int64, error) { return free - s.written(), 100 << 20, nil }
	n, err := io.Copy(s, io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), 200<<20))
	if !errors.Is(err, syscall.ENOSPC) || n < 80<<20 || n > 96<<20 {
		t.Errorf("it took %d MB, %v", n>>20, err)
	}
}
