//go:build linux

package storetest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// StartEtcd starts an etcd of one member.
func StartEtcd(t *testing.T) *Server {
	t.Helper()
	return StartEtcds(t, 1)[0]
}

// StartEtcds starts an etcd of n members.
func StartEtcds(t *testing.T, n int) []*Server {
	t.Helper()
	return startEtcds(t, n, "http")
}

// StartSecureEtcd starts an etcd that talks to owners of a certificate of the CA
// only. All are files in PEM.
func StartSecureEtcd(t *testing.T, ca, cert, key string) *Server {
	t.Helper()
	return startEtcds(t, 1, "https", "--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth")[0]
}

func startEtcds(t *testing.T, n int, scheme string, args ...string) []*Server {
	t.Helper()
	path := program(t, "etcd")
	if hasFlag(path, "--unsafe-no-fsync") {
		args = append(args, "--unsafe-no-fsync")
	}
	var members []*Server
	var peers, cluster []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("http://127.0.0.1:%d", freePort(t)))
		cluster = append(cluster, fmt.Sprintf("skep-test-%d=%s", i, peers[i]))
	}
	for i := range n {
		dir := t.TempDir()
		s := &Server{
			Name: "etcd", Address: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
			log: filepath.Join(dir, "log"), data: filepath.Join(dir, "etcd"),
		}
		clients := scheme + "://" + s.Address
		s.args = append([]string{path,
			"--name", fmt.Sprintf("skep-test-%d", i), "--data-dir", s.data,
			"--listen-client-urls", clients, "--advertise-client-urls", clients,
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "warn",
		}, args...)
		s.ready = func(ctx context.Context) error {
			if scheme == "https" { // it tells its health to owners of the certificate
				return reach(ctx, s.Address)
			}
			return Exchange(ctx, s.Address, "GET /health HTTP/1.0\r\n\r\n", `"true"`)
		}
		members = append(members, s)
	}
	own(t, members)
	return members
}

func hasFlag(program, flag string) bool {
	out, _ := exec.Command(program, "--help").CombinedOutput()
	return bytes.Contains(out, []byte(flag))
}
