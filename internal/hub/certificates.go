package hub

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certificates are read again when they are asked to, and when their files
// change, so that a renewed certificate needs no restart.
type certificates struct {
	cert, key string
	pair      atomic.Pointer[tls.Certificate]
	change    time.Time // of the files when pair was read; the goroutine of follow alone uses it
}

// lookAgain is the time between two looks at the files.
const lookAgain = 30 * time.Second

func loadCertificates(cert, key string) (*certificates, error) {
	c := &certificates{cert: cert, key: key}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("load --tlscert and --tlskey: %w", err)
	}
	return c, nil
}

// load reads the files.
func (c *certificates) load() error {
	change, err := latest(c.cert, c.key)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.pair.Store(&pair)
	c.change = change
	return nil
}

// look reads the files if they have changed.
func (c *certificates) look() error {
	change, err := latest(c.cert, c.key)
	if err != nil || change.Equal(c.change) {
		return err
	}
	return c.load()
}

// follow reads the files at each asked, and looks at them now and then, until
// ctx is done. The old pair stays while the new files cannot be read: they may
// be half written.
func (c *certificates) follow(ctx context.Context, asked <-chan os.Signal, logger *slog.Logger) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err = c.look()
		case <-asked:
			if err = c.load(); err == nil {
				logger.Info("new connections use the certificate that is there now")
			}
		}
		if err != nil {
			logger.Warn("the certificate cannot be read again, the one before stays in use", "err", err)
		}
	}
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil }

// latest is the time of the last change of any of the files.
func latest(files ...string) (time.Time, error) {
	var last time.Time
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return time.Time{}, err
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}
