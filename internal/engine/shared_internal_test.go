package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

func TestWords_keepsOneCopyAndIsBounded(t *testing.T) {
	var w words
	first := w.one(strings.Clone("web"))
	if again := w.one(strings.Clone("web")); unsafe.StringData(again) != unsafe.StringData(first) {
		t.Error("the same word is kept twice")
	}
	for i := range 3 * maxWords {
		w.one(fmt.Sprint(i))
	}
	if len(w.known) > maxWords {
		t.Errorf("%d words are kept", len(w.known))
	}
}

func TestBodies_longOnesAreNotKept(t *testing.T) {
	var b bodies
	b.put(bytes.NewBuffer(make([]byte, 2*maxKeptBody)))
	if buf := b.get(); buf.Cap() > maxKeptBody {
		t.Errorf("a buffer of %d bytes is kept", buf.Cap())
	}
	short := b.get()
	short.WriteString("former")
	b.put(short)
	if buf := b.get(); buf.Len() != 0 {
		t.Errorf("a buffer comes with %q", buf)
	}
}
