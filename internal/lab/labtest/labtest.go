// Package labtest gives tests real Docker Engines: a lab that lives as long as
// the test. It builds the skep executable that package lab needs as helper, and
// skips the test, saying why, where engines cannot run.
package labtest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

// Skip skips the test where engines cannot run. With CI=true that is a failure:
// there they must.
func Skip(tb testing.TB) {
	tb.Helper()
	err := lab.Supported()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatalf("no real engines here: %v", err)
	}
	tb.Skipf("no real engines here: %v", err)
}

// Binary returns the path of a skep executable of the source tree that is
// tested: the one that $SKEP_BIN names, or one that is built for this test.
func Binary(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("SKEP_BIN"); path != "" {
		return path
	}
	path := filepath.Join(tb.TempDir(), "skep")
	build := exec.Command("go", "build", "-o", path, "github.com/skep/skep/cmd/skep")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build skep: %v\n%s", err, out)
	}
	return path
}

// New returns a lab that is removed when the test ends; nothing runs yet. What
// cfg leaves out is chosen: a name that no other lab has, so that several runs
// of the tests get along on one host; a new directory; Binary's executable.
func New(tb testing.TB, cfg lab.Config) *lab.Lab {
	tb.Helper()
	Skip(tb)
	if cfg.Exe == "" {
		cfg.Exe = Binary(tb)
	}
	if cfg.Name == "" {
		cfg.Name = "t" + strings.ToLower(rand.Text()[:7]) // letters and digits
	}
	if cfg.Dir == "" {
		// Not tb.TempDir: paths of unix sockets are short.
		dir, err := os.MkdirTemp("", cfg.Name)
		if err != nil {
			tb.Fatalf("make lab directory: %v", err)
		}
		cfg.Dir = dir
	}
	l, err := lab.New(cfg)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			tb.Errorf("lab down: %v", err)
		}
	})
	return l
}

// Up returns a lab with machines n1 to n<n> running, as New does.
func Up(tb testing.TB, cfg lab.Config, n int) *lab.Lab {
	tb.Helper()
	l := New(tb, cfg)
	if err := l.Up(tb.Context(), n); err != nil {
		tb.Fatalf("lab up: %v", err)
	}
	return l
}

// ImageTar writes a tar file as docker save does, with one image of one layer
// that holds the given files, and returns its path. The image runs nothing
// unless one of the files is a static program.
func ImageTar(tb testing.TB, ref string, files map[string][]byte) string {
	tb.Helper()
	layer := archive(tb, files)
	sum := sha256.Sum256(layer)
	config := encode(tb, map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	manifest := encode(tb, []map[string]any{{
		"Config": "config.json", "RepoTags": []string{ref}, "Layers": []string{"layer.tar"},
	}})
	image := archive(tb, map[string][]byte{"config.json": config, "layer.tar": layer, "manifest.json": manifest})
	path := filepath.Join(tb.TempDir(), "image.tar")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		tb.Fatalf("write image: %v", err)
	}
	return path
}

func archive(tb testing.TB, files map[string][]byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			tb.Fatalf("write tar: %v", err)
		}
		if _, err := w.Write(data); err != nil {
			tb.Fatalf("write tar: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatalf("write tar: %v", err)
	}
	return buf.Bytes()
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatalf("encode: %v", err)
	}
	return data
}
