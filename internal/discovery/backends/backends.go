// Package backends is the table of all discovery backends. It is the one place
// that knows them all: a new one is a package of its own and one more row.
package backends

import (
	"fmt"
	"strings"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/file"
	"github.com/skep/skep/internal/discovery/kv"
	"github.com/skep/skep/internal/discovery/nodes"
	"github.com/skep/skep/internal/discovery/token"
	"github.com/skep/skep/internal/kvstore/stores"
)

// row is one backend: rest is what follows "scheme://" in the URL.
type row struct {
	scheme string
	open   func(rest string, opts discovery.Options) (discovery.Backend, error)
}

// table is in the order in which errors list the backends.
func table() []row {
	return []row{
		{"nodes", openNodes},
		{"file", openFile},
		{"token", openToken},
		{"etcd", openStore("etcd")},
		{"consul", openStore("consul")},
		{"zk", openStore("zk")},
	}
}

func openNodes(list string, _ discovery.Options) (discovery.Backend, error) {
	return result(nodes.New(list))
}

func openFile(path string, opts discovery.Options) (discovery.Backend, error) {
	return result(file.New(path, opts))
}

func openToken(rest string, opts discovery.Options) (discovery.Backend, error) {
	return result(token.New(rest, opts))
}

// openStore opens discovery by a key-value store. The URL is read at once; a
// store is opened for as long as it is used.
func openStore(scheme string) func(rest string, opts discovery.Options) (discovery.Backend, error) {
	return func(rest string, opts discovery.Options) (discovery.Backend, error) {
		open, prefix, err := stores.Opener(scheme, rest, opts.Opts, opts.Logger)
		if err != nil {
			return nil, err
		}
		return result(kv.New(open, prefix, opts))
	}
}

// result keeps a nil *B from becoming a Backend that is not nil.
func result[B discovery.Backend](b B, err error) (discovery.Backend, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// New returns the backend that url names, "scheme://rest". Without a scheme it
// is a list for nodes, and also if it begins like an address of an engine:
// with tcp:// or unix://.
func New(url string, opts discovery.Options) (discovery.Backend, error) {
	scheme, rest := split(url)
	var known []string
	for _, r := range table() {
		if r.scheme == scheme {
			return r.open(rest, opts)
		}
		known = append(known, r.scheme+"://")
	}
	return nil, fmt.Errorf("discovery service not supported: %q; skep knows %s, and addresses between commas",
		scheme+"://", strings.Join(known, ", "))
}

func split(url string) (scheme, rest string) {
	scheme, rest, found := strings.Cut(url, "://")
	switch {
	case !found, scheme == "tcp", scheme == "unix",
		// "10.0.0.1:2375,unix:///run/docker.sock" is a list as well.
		strings.ContainsAny(scheme, ":,[/"):
		return "nodes", url
	}
	return scheme, rest
}
