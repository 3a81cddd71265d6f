package rawstream

import (
	"io"
	"net/http"
	"strings"
)

// EndToEnd gives the headers that are not about one connection. Who sends a
// request on speaks for itself of when its body is wanted, and of its length.
func EndToEnd(from http.Header) http.Header {
	h := from.Clone()
	for _, list := range from.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect"} {
		h.Del(name)
	}
	return h
}

// PassOn sends the status and the length of an answer, and body, which is that of
// the answer, and flushes what comes as it comes: logs, events and progress are
// watched by people. The caller has set the other headers. It returns when the
// body has ended or nobody reads it any more, and breaks the user's connection if
// the body does.
func PassOn(w http.ResponseWriter, resp *http.Response, body io.Reader) {
	if length := resp.Header["Content-Length"]; resp.ContentLength >= 0 && len(length) > 0 {
		w.Header()["Content-Length"] = length
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w).Flush
	if resp.ContentLength != 0 {
		_ = flush()
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			// The status is out; only a broken connection can tell that the
			// answer is not whole.
			panic(http.ErrAbortHandler)
		}
	}
}
