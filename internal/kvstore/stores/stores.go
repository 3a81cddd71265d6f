// Package stores opens the key-value store that a URL names. It is the one
// place that knows them all.
package stores

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/etcd"
	"github.com/skep/skep/internal/kvstore/zk"
)

// The options of a store. The files are given all or none.
const (
	OptCA   = "kv.cacertfile" // the CA of the store's certificate
	OptCert = "kv.certfile"   // our certificate
	OptKey  = "kv.keyfile"    // its key
)

// Open opens the store of a URL, scheme://rest. It does not wait for the store.
// Whoever opens it closes it. prefix is the path in the URL, below which keys
// belong, without slashes around it. A logger that is nil hears nothing.
func Open(scheme, rest string, opts map[string]string, logger *slog.Logger) (store kvstore.Store, prefix string, err error) {
	fail := func(err error) (kvstore.Store, string, error) {
		return nil, "", fmt.Errorf("%s://%s: %w", scheme, rest, err)
	}
	open, ok := schemes()[scheme]
	if !ok {
		return fail(errors.New("no key-value store has this scheme; skep knows etcd://, consul:// and zk://"))
	}
	hosts, prefix, err := split(rest, open.port)
	if err != nil {
		return fail(err)
	}
	security, err := readTLS(opts)
	if err != nil {
		return fail(err)
	}
	store, err = open.open(hosts, security, logger)
	if err != nil {
		return fail(err)
	}
	return store, prefix, nil
}

// Opener checks what Open would be given, and returns how to open the store, as
// often as need be.
func Opener(scheme, rest string, opts map[string]string, logger *slog.Logger) (open func() (kvstore.Store, error), prefix string, err error) {
	store, prefix, err := Open(scheme, rest, opts, logger)
	if err != nil {
		return nil, "", err
	}
	if err := store.Close(); err != nil {
		return nil, "", err
	}
	return func() (kvstore.Store, error) {
		store, _, err := Open(scheme, rest, opts, logger)
		return store, err
	}, prefix, nil
}

// scheme is a kind of store and the port that it has if none is named.
type scheme struct {
	port int
	open func(hosts []string, security *tls.Config, logger *slog.Logger) (kvstore.Store, error)
}

func schemes() map[string]scheme {
	return map[string]scheme{
		"etcd":   {2379, openEtcd},
		"consul": {8500, openConsul},
		"zk":     {2181, openZookeeper},
	}
}

func openEtcd(hosts []string, security *tls.Config, _ *slog.Logger) (kvstore.Store, error) {
	return result(etcd.New(hosts, etcd.Options{TLS: security}))
}

func openConsul(hosts []string, security *tls.Config, logger *slog.Logger) (kvstore.Store, error) {
	if len(hosts) > 1 {
		return nil, errors.New("consul does not support multiple endpoints: name the agent nearby, it knows the servers")
	}
	return result(consul.New(hosts[0], consul.Options{TLS: security, Logger: logger}))
}

func openZookeeper(hosts []string, security *tls.Config, _ *slog.Logger) (kvstore.Store, error) {
	if security != nil {
		return nil, fmt.Errorf("skep speaks no TLS with ZooKeeper: leave out %s, %s and %s", OptCA, OptCert, OptKey)
	}
	return result(zk.New(hosts, zk.Options{}))
}

// result keeps a nil *S from becoming a Store that is not nil.
func result[S kvstore.Store](s S, err error) (kvstore.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// split cuts "h1:p,h2:p/prefix" and completes the ports.
func split(rest string, port int) (hosts []string, prefix string, err error) {
	list, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	for part := range strings.SplitSeq(prefix, "/") {
		if prefix != "" && (part == "" || part == "." || part == "..") {
			return nil, "", fmt.Errorf("%q is no path of a key: write names between single slashes", "/"+prefix)
		}
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return nil, "", errors.New("white space or unprintable characters in the address")
	}
	for item := range strings.SplitSeq(list, ",") {
		host, err := withPort(item, port)
		if err != nil {
			return nil, "", err
		}
		hosts = append(hosts, host)
	}
	return hosts, prefix, nil
}

func withPort(item string, port int) (string, error) {
	if item == "" {
		return "", errors.New("the address of the store is missing: write host:port, several between commas")
	}
	host, text, err := net.SplitHostPort(item)
	if err != nil {
		var bad *net.AddrError
		if !errors.As(err, &bad) || bad.Err != "missing port in address" {
			return "", err
		}
		host, text = strings.TrimSuffix(strings.TrimPrefix(item, "["), "]"), strconv.Itoa(port)
	}
	if host == "" || strings.ContainsAny(host, "[]@?#") {
		return "", fmt.Errorf("%q is not host:port", item)
	}
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: the port must be a number from 1 to 65535", item)
	}
	return net.JoinHostPort(host, text), nil
}

// readTLS reads what the options name; nil is plain text.
func readTLS(opts map[string]string) (*tls.Config, error) {
	var missing []string
	for _, name := range []string{OptCA, OptCert, OptKey} {
		if opts[name] == "" {
			missing = append(missing, name)
		}
	}
	switch len(missing) {
	case 3:
		return nil, nil
	case 0:
	default:
		return nil, fmt.Errorf("%s missing: TLS needs all of %s, %s and %s", strings.Join(missing, " and "), OptCA, OptCert, OptKey)
	}
	pair, err := tls.LoadX509KeyPair(opts[OptCert], opts[OptKey])
	if err != nil {
		return nil, fmt.Errorf("read %s and %s: %w", OptCert, OptKey, err)
	}
	ca, err := os.ReadFile(opts[OptCA])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", OptCA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read %s: %s holds no certificate in PEM form", OptCA, opts[OptCA])
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}
