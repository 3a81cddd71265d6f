package replica

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/skep/skep/internal/rawstream"
)

// statusClientGone is what proxies log for a client that did not wait; nobody
// reads it.
const statusClientGone = 499

// writeError answers as engines do.
func writeError(w http.ResponseWriter, status int, message string) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]string{"message": message})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// unreachable is the sentence that scripts know.
func unreachable(reason, address string) string {
	return fmt.Sprintf("Unable to reach primary cluster manager (%s): %s", reason, address)
}

// fail answers after a try that must not be repeated.
func (h *Handler) fail(w http.ResponseWriter, j *job, f failure) {
	switch {
	case !j.upgrade && j.ended().Err() != nil:
		h.end(w, j)
	case j.isOrder() && !isUnsent(f.err):
		writeError(w, http.StatusInternalServerError, unreachable(f.err.Error()+"; it is not known whether it has carried this out: look before you try again", f.address))
	default:
		writeError(w, http.StatusServiceUnavailable, unreachable(f.err.Error(), f.address))
	}
}

// end answers a request that has ended before its answer came.
func (h *Handler) end(w http.ResponseWriter, j *job) {
	if rawstream.StopOf(j.r).Err() != nil {
		writeError(w, http.StatusServiceUnavailable, errStopping.Error())
		return
	}
	w.WriteHeader(statusClientGone)
}

// giveUp answers when a request has waited long enough.
func (h *Handler) giveUp(w http.ResponseWriter, j *job, last failure) {
	if last.err == nil {
		last = failure{fmt.Errorf("none was elected within %s; see whether the discovery store answers, then try again", h.cfg.Wait), "unknown"}
	}
	if j.forwarded() {
		w.Header().Set(notPrimary, "true")
	}
	writeError(w, http.StatusServiceUnavailable, unreachable(last.err.Error(), last.address))
}

// refuse answers another manager that has taken this one for the primary.
func (h *Handler) refuse(w http.ResponseWriter, j *job, address string) {
	w.Header().Set(notPrimary, "true")
	writeError(w, http.StatusServiceUnavailable, unreachable(
		fmt.Sprintf("%s was asked by %s, but is not the primary; try again", h.cfg.Advertise, j.r.Header.Get(forwardedBy)), address))
}
