package dockerapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// pluginTimeout is how long a plugin may take for one decision.
	pluginTimeout = 30 * time.Second
	// maxPluginAnswer bounds what is read of a plugin, and of its spec file.
	maxPluginAnswer = 1 << 20
	pluginMediaType = "application/vnd.docker.plugins.v1.2+json"
)

// PluginDirs are where plugins make themselves known, in the order in which
// they are looked through: sockets first, as with Docker.
type PluginDirs struct {
	Sockets []string // NAME.sock
	Specs   []string // NAME.spec or NAME.json
}

// DockerPluginDirs are the directories that Docker looks in.
func DockerPluginDirs() PluginDirs {
	return PluginDirs{
		Sockets: []string{"/run/docker/plugins"},
		Specs:   []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"},
	}
}

// Plugin is a program that decides who may do what, by Docker's plugin
// protocol.
type Plugin struct {
	name   string
	client *http.Client
	base   string // URL of the plugin, with its last slash
}

// FindPlugin looks for a plugin by its name and asks whether it decides about
// authorization. Close frees its connections.
func FindPlugin(ctx context.Context, name string, dirs PluginDirs) (*Plugin, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("authorization plugin %q: a plugin's name has no slashes", name)
	}
	p, err := findPlugin(name, dirs)
	if err != nil {
		return nil, fmt.Errorf("authorization plugin %s: %w", name, err)
	}
	if err := p.activate(ctx); err != nil {
		p.Close()
		return nil, fmt.Errorf("authorization plugin %s: %w", name, err)
	}
	return p, nil
}

func findPlugin(name string, dirs PluginDirs) (*Plugin, error) {
	for _, path := range candidates(dirs.Sockets, name, ".sock") {
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
			return newPlugin(name, "unix://"+path, nil)
		}
	}
	for _, path := range candidates(dirs.Specs, name, ".spec", ".json") {
		spec, err := readSpec(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", path, err)
		case strings.HasSuffix(path, ".json"):
			return parsePluginJSON(name, spec)
		default:
			return newPlugin(name, strings.TrimSpace(string(spec)), nil)
		}
	}
	return nil, fmt.Errorf("not found: there is no %s.sock in %s and no %s.spec or %s.json in %s; start the plugin first",
		name, strings.Join(dirs.Sockets, ", "), name, name, strings.Join(dirs.Specs, ", "))
}

// candidates are the paths at which a plugin may be: in the directory itself,
// or in one of its own.
func candidates(dirs []string, name string, extensions ...string) []string {
	var paths []string
	for _, dir := range dirs {
		for _, ext := range extensions {
			paths = append(paths, filepath.Join(dir, name+ext), filepath.Join(dir, name, name+ext))
		}
	}
	return paths
}

func readSpec(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUpTo(f, maxPluginAnswer)
}

// readUpTo reads all of r, and fails where it is longer than limit.
func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return body, err
}

// pluginTLS are the certificates that a .json file names.
type pluginTLS struct {
	InsecureSkipVerify        bool
	CAFile, CertFile, KeyFile string
}

func parsePluginJSON(name string, spec []byte) (*Plugin, error) {
	var given struct {
		Addr      string
		TLSConfig *pluginTLS
	}
	if err := json.Unmarshal(spec, &given); err != nil {
		return nil, fmt.Errorf("its .json file: %w", err)
	}
	if given.TLSConfig == nil {
		return newPlugin(name, given.Addr, nil)
	}
	cfg, err := given.TLSConfig.load()
	if err != nil {
		return nil, fmt.Errorf("its .json file: %w", err)
	}
	return newPlugin(name, given.Addr, cfg)
}

func (t *pluginTLS) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		pem, err := readSpec(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CAFile: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CAFile %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load CertFile and KeyFile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// newPlugin prepares the connection to a plugin at unix://, tcp://, http:// or
// https://.
func newPlugin(name, address string, secure *tls.Config) (*Plugin, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	transport := &http.Transport{
		TLSClientConfig: secure, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		// A decision never travels through a proxy that the environment names.
		Proxy: nil,
	}
	p := &Plugin{name: name, client: &http.Client{
		Transport: transport, Timeout: pluginTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	switch {
	case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/"):
		path := u.Path
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		p.base = "http://plugin/"
	case u.Host != "" && (u.Scheme == "https" || u.Scheme == "tcp" && secure != nil):
		p.base = "https://" + u.Host + "/"
	case u.Host != "" && (u.Scheme == "tcp" || u.Scheme == "http"):
		p.base = "http://" + u.Host + "/"
	default:
		return nil, fmt.Errorf("address %q: write it as unix:///path or tcp://host:port", address)
	}
	return p, nil
}

func (p *Plugin) activate(ctx context.Context) error {
	var answer struct{ Implements []string }
	if err := p.call(ctx, "Plugin.Activate", nil, &answer); err != nil {
		return err
	}
	if !slices.Contains(answer.Implements, "authz") {
		return fmt.Errorf("it does not decide about authorization: it implements %q", answer.Implements)
	}
	return nil
}

// call asks the plugin one question. Whatever is no clear answer is an error.
func (p *Plugin) call(ctx context.Context, method string, question []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+method, bytes.NewReader(question))
	if err != nil {
		return err
	}
	r.Header.Set("Accept", pluginMediaType)
	r.Header.Set("Content-Type", pluginMediaType)
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := readUpTo(resp.Body, maxPluginAnswer)
	if err != nil {
		return fmt.Errorf("%s: read answer: %w", method, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s%s", method, resp.Status, reason(body))
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s: read answer: %w", method, err)
	}
	return nil
}

// reason is what a plugin says of its own failure, for the end of a sentence:
// Docker's library for plugins puts it beside a status of 500.
func reason(body []byte) string {
	var said struct{ Err string }
	if json.Unmarshal(body, &said) != nil || said.Err == "" {
		return ""
	}
	return ": " + said.Err
}

// Close frees the plugin's idle connections.
func (p *Plugin) Close() { p.client.CloseIdleConnections() }
