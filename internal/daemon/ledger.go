package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/skep/skep/internal/ledger"
)

// openLedger opens what this manager knew of its containers before it was
// restarted; nil if there is no place for it. Each discovery has a file of its
// own: the containers of one cluster are not to be moved into another.
func openLedger(cfg ManageConfig) (*ledger.Ledger, error) {
	if cfg.StateDir == "" {
		return nil, nil
	}
	sum := sha256.Sum256([]byte(cfg.DiscoveryURL))
	known, err := ledger.Open(filepath.Join(cfg.StateDir, "manage", hex.EncodeToString(sum[:6])+".db"))
	switch {
	case err == nil:
		return known, nil
	case cfg.StateRequired:
		return nil, fmt.Errorf("--state-dir: %w", err)
	}
	cfg.Logger.Warn("a restart of this manager will forget the containers of engines that are down then, and not move them; give it a --state-dir of its own", "err", err)
	return nil, nil
}
