package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadMessages(t *testing.T) {
	for name, c := range map[string]struct{ stream, statuses, err string }{
		"nothing at all":                       {"", "", ""},
		"each, whatever stands between them":   {"{\"status\":\"a\"}\r\n\n  {\"status\":\"b\"}", "a b", ""},
		"what it does not know is no matter":   {`{"status":"a","new":{"x":[1]}}`, "a", ""},
		"an error ends it":                     {"{\"status\":\"a\"}\n{\"error\":\"no\"}\n{\"status\":\"b\"}", "a", "no"},
		"an error as clients of today read it": {`{"errorDetail":{"code":1,"message":"detailed"},"error":"no"}`, "", "detailed"},
		"a message that breaks off":            {"{\"status\":\"a\"}\n{\"sta", "a", "decode progress: unexpected EOF"},
		"nonsense":                             {"<html>", "", "decode progress: invalid character '<' looking for beginning of value"},
		"a message without an end":             {`{"status":"` + strings.Repeat("x", maxMessage+1), "", "the connection broke: bufio.Scanner: token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			err := readMessages(strings.NewReader(c.stream), func(_ []byte, m *progressMessage) { got = append(got, m.Status) })
			if text := strings.Join(got, " "); text != c.statuses {
				t.Errorf("read %q, want %q", text, c.statuses)
			}
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func FuzzReadMessages(f *testing.F) {
	f.Add([]byte("{\"status\":\"a\",\"progressDetail\":{\"current\":1}}\r\n{\"stream\":\"b\"}\n"))
	f.Add([]byte(`{"errorDetail":{"message":"no"},"error":"no"}`))
	f.Add([]byte("{\"sta"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		err := readMessages(bytes.NewReader(stream), func(raw []byte, m *progressMessage) {
			if !json.Valid(raw) || m.err() != nil {
				t.Errorf("%q was taken for a message", raw)
			}
			// What is passed on must be readable in turn.
			if line := m.line(); !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("%q became %q", raw, line)
			}
		})
		if errors.Is(err, io.EOF) {
			t.Errorf("a stream's end is no error: %v", err)
		}
	})
}
