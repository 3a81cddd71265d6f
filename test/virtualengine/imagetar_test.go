//go:build linux

package virtualengine

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// writeTinyImage writes the image that all engines have, as docker save does,
// and returns the tar's path.
func (s *stage) writeTinyImage() (string, error) {
	program, err := os.ReadFile(s.Tiny)
	if err != nil {
		return "", err
	}
	image, err := imageTar(tiny, map[string]file{
		"bin/tiny":  {program, 0o755},
		"plain.txt": {[]byte("no program\n"), 0o644},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, "tiny.tar")
	return path, os.WriteFile(path, image, 0o600)
}

type file struct {
	data []byte
	mode int64
}

// imageTar is an image of one layer with these files, as docker save writes it.
func imageTar(ref string, files map[string]file) ([]byte, error) {
	layer, err := tarOf(files)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      "2026-01-02T03:04:05Z",
		"config": map[string]any{
			"Env": []string{"PATH=/bin", "FROM_IMAGE=yes"}, "Cmd": []string{"tiny", "sleep"},
			"Labels": map[string]string{"made.by": "test"},
		},
		"history": []map[string]any{{"created": "2026-01-02T03:04:05Z", "created_by": "test"}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{ref}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	return tarOf(map[string]file{
		"config.json": {config, 0o644}, "layer.tar": {layer, 0o644}, "manifest.json": {manifest, 0o644},
	})
}

func tarOf(files map[string]file) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}
