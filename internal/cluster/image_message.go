package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxMessage bounds one message of a progress stream.
const maxMessage = 1 << 20 // bytes

// progressMessage is a message of the streams that pull, load and import
// answer with.
type progressMessage struct {
	Stream string          `json:"stream,omitempty"` // text to print as it is
	Status string          `json:"status,omitempty"`
	Detail json.RawMessage `json:"progressDetail,omitempty"` // {} where nothing is counted
	ID     string          `json:"id,omitempty"`             // of a layer; from us: the node's name
	Error  string          `json:"error,omitempty"`
	// ErrorDetail says the same as Error; clients of today read it.
	ErrorDetail *errorDetail `json:"errorDetail,omitempty"`
}

type errorDetail struct {
	Message string `json:"message"`
}

func (m *progressMessage) err() error {
	switch {
	case m.ErrorDetail != nil && m.ErrorDetail.Message != "":
		return errors.New(m.ErrorDetail.Message)
	case m.Error != "":
		return errors.New(m.Error)
	default:
		return nil
	}
}

// counts says that the message is a position of a progress bar.
func (m *progressMessage) counts() bool {
	var at struct {
		Current int64 `json:"current"`
	}
	return len(m.Detail) > 0 && json.Unmarshal(m.Detail, &at) == nil && at.Current > 0
}

// readMessages calls each for every message of a stream. An error that the
// stream tells ends it.
func readMessages(r io.Reader, each func(raw []byte, m *progressMessage)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxMessage)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var m progressMessage
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("decode progress: %w", brokenOff(err, line))
		}
		if err := m.err(); err != nil {
			return err
		}
		each(line, &m)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the connection broke: %w", err)
	}
	return nil
}

// brokenOff tells a message that was not sent to its end from nonsense.
func brokenOff(err error, line []byte) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset == int64(len(line)) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line is the message as it goes to the client.
func (m *progressMessage) line() []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	must(enc.Encode(m))
	return buf.Bytes()
}

// ErrorMessage is the message that ends a progress stream with an error.
func ErrorMessage(err error) []byte {
	m := progressMessage{Error: err.Error(), ErrorDetail: &errorDetail{err.Error()}}
	return m.line()
}
