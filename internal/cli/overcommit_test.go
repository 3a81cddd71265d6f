package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestManage_warnsOfAnOvercommitThatTakesAway(t *testing.T) {
	for value, warned := range map[string]bool{"-0.5": true, "0": false, "0.05": false} {
		var log bytes.Buffer
		var f manageFlags
		cmd := &cobra.Command{Use: "manage"}
		f.register(cmd)
		if err := cmd.ParseFlags([]string{"--cluster-opt", "swarm.overcommit=" + value}); err != nil {
			t.Fatal(err)
		}
		_, err := f.config([]string{"nodes://10.0.0.1:2375"}, func(string) string { return "" }, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || strings.Contains(log.String(), "level=WARN") != warned {
			t.Errorf("swarm.overcommit=%s: %v\n%s", value, err, log.String())
		}
	}
}
