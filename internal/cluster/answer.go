package cluster

import (
	"bufio"
	"io"
	"sync"
)

// answerBuffer is what is gathered of a long answer before it is written: as few
// writes as may be, and no more memory for a client that reads slowly.
const answerBuffer = 64 << 10

// answerBuffers lends such buffers. Answers are long: they are written as they
// are made, never built whole.
type answerBuffers struct{ pool sync.Pool }

func (a *answerBuffers) begin(w io.Writer) *bufio.Writer {
	if b, ok := a.pool.Get().(*bufio.Writer); ok {
		b.Reset(w)
		return b
	}
	return bufio.NewWriterSize(w, answerBuffer)
}

func (a *answerBuffers) end(b *bufio.Writer) {
	b.Reset(nil)
	a.pool.Put(b)
}
