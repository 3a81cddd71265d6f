//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// loadTimeout bounds the loading of one tar into one engine.
const loadTimeout = 10 * time.Minute

// Load loads the images of a tar file (docker save) into the named machines,
// all of them when none is named, side by side.
func (l *Lab) Load(ctx context.Context, tar string, names ...string) error {
	s, err := l.load()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = s.names()
	}
	return s.each(names, func(m *machineState) error {
		if err := loadImage(ctx, l.socket(m.Name), tar); err != nil {
			return fmt.Errorf("load %s: %w", tar, err)
		}
		return nil
	})
}

func loadImage(ctx context.Context, socket, tar string) error {
	f, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/images/load?quiet=1", f)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-tar")
	client := engineClient(socket)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return errors.Join(fmt.Errorf("the engine answered %s: %s", resp.Status, strings.TrimSpace(string(said))), err)
	}
	return loadResult(resp.Body)
}

// loadResult reads the progress messages to their end; a failure comes as one
// of them.
func loadResult(body io.Reader) error {
	messages := json.NewDecoder(body)
	for {
		var message struct {
			Error string `json:"error"`
		}
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}
