package build

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzGRPCText(f *testing.F) {
	f.Add("no engine that answers now has BuildKit")
	f.Add("100% für\r\nalle\x00\xff")
	f.Fuzz(func(t *testing.T, message string) {
		sent := grpcText(message)
		if strings.ContainsFunc(sent, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is no header", sent)
		}
		if back, err := url.PathUnescape(sent); err != nil || back != message {
			t.Errorf("%q came back as %q, %v", message, back, err)
		}
	})
}
