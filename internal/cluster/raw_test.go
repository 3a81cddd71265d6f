package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// rawContainer is a container in an engine's own words.
type rawContainer struct{ list, inspect string }

func (c rawContainer) id() string {
	var head struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal([]byte(c.list), &head); err != nil {
		panic(err)
	}
	return head.ID
}

// serveRaw makes an engine answer with these containers, and with no others.
func serveRaw(e *enginetest.Engine, containers ...rawContainer) {
	e.Handle("GET", "/containers/json", func(w http.ResponseWriter, r *http.Request) {
		var filters map[string][]string
		var sets map[string]map[string]bool
		text := []byte(r.URL.Query().Get("filters"))
		if json.Unmarshal(text, &filters) != nil && json.Unmarshal(text, &sets) == nil {
			filters = map[string][]string{}
			for id := range sets["id"] {
				filters["id"] = append(filters["id"], id)
			}
		}
		var list []string
		for _, c := range containers {
			if ids := filters["id"]; len(ids) == 0 || slices.Contains(ids, c.id()) {
				list = append(list, c.list)
			}
		}
		fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
	})
	e.Handle("GET", "/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range containers {
			if strings.HasSuffix(r.URL.Path, "/"+c.id()+"/json") {
				fmt.Fprint(w, c.inspect)
				return
			}
		}
		http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
	})
}

// meeting lets n goroutines begin at the same moment.
func meeting(n int, do func(i int)) {
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			do(i)
		})
	}
	close(begin)
	wg.Wait()
}

// errText is the text of err, "" for none.
func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func id64(s string) string { return (s + strings.Repeat("0", 64))[:64] }

func decodeAs[T any](t *testing.T, raw []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

// listJSON is a list as a client gets it.
func listJSON(c *cluster.Cluster, o cluster.ListOptions) ([]byte, error) {
	list, err := c.List(context.Background(), o)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	err = list.Write(&body)
	return body.Bytes(), err
}
