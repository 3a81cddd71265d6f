// Command registry is a small image registry: as much of the distribution API
// as engines need to push and pull, in memory.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// registry holds blobs and manifests.
type registry struct {
	mu        sync.Mutex
	blobs     map[string][]byte   // by digest; guarded by mu, as are all below
	manifests map[string]manifest // by repository@digest and repository:tag
	uploads   map[string][]byte
	next      int
}

type manifest struct {
	mediaType string
	data      []byte
}

var (
	blobPath     = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$`)
	uploadPath   = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/([0-9]*)$`)
	manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
)

func main() {
	r := &registry{blobs: map[string][]byte{}, manifests: map[string]manifest{}, uploads: map[string][]byte{}}
	log.Fatal(http.ListenAndServe(os.Args[1], r))
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	path := req.URL.Path
	if m := blobPath.FindStringSubmatch(path); m != nil {
		r.blob(w, req, m[2])
	} else if m := uploadPath.FindStringSubmatch(path); m != nil {
		r.upload(w, req, m[1], m[2], body)
	} else if m := manifestPath.FindStringSubmatch(path); m != nil {
		r.manifest(w, req, m[1], m[2], body)
	} else if path == "/v2/" {
		fmt.Fprint(w, "{}")
	} else {
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "there is nothing here")
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *registry) blob(w http.ResponseWriter, req *http.Request, digest string) {
	data, ok := r.blobs[digest]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	answer(w, req, "application/octet-stream", data)
}

func answer(w http.ResponseWriter, req *http.Request, mediaType string, data []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("Docker-Content-Digest", digestOf(data))
	if req.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

// upload takes a blob in as many parts as the client likes.
func (r *registry) upload(w http.ResponseWriter, req *http.Request, repository, id string, body []byte) {
	if id == "" {
		r.next++
		id = strconv.Itoa(r.next)
	}
	r.uploads[id] = append(r.uploads[id], body...)
	if digest := req.URL.Query().Get("digest"); req.Method == http.MethodPut && digest != "" {
		if digestOf(r.uploads[id]) != digest {
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
			return
		}
		r.blobs[digest] = r.uploads[id]
		delete(r.uploads, id)
		w.Header().Set("Location", "/v2/"+repository+"/blobs/"+digest)
		w.Header().Set("Docker-Content-Digest", digest)
		w.WriteHeader(http.StatusCreated)
		return
	}
	w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/"+id)
	w.Header().Set("Docker-Upload-UUID", id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(r.uploads[id])-1)))
	w.WriteHeader(http.StatusAccepted)
}

func (r *registry) manifest(w http.ResponseWriter, req *http.Request, repository, reference string, body []byte) {
	at := ":"
	if strings.HasPrefix(reference, "sha256:") {
		at = "@"
	}
	if req.Method == http.MethodPut {
		m := manifest{req.Header.Get("Content-Type"), body}
		r.manifests[repository+at+reference] = m
		r.manifests[repository+"@"+digestOf(body)] = m
		w.Header().Set("Docker-Content-Digest", digestOf(body))
		w.WriteHeader(http.StatusCreated)
		return
	}
	m, ok := r.manifests[repository+at+reference]
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	answer(w, req, m.mediaType, m.data)
}
