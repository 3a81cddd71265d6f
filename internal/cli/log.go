package cli

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// addLogFlags gives a command and its sub-commands --debug and --log-level.
func addLogFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().Bool("debug", false, "log everything; --log-level goes before it")
	cmd.PersistentFlags().StringP("log-level", "l", "info", "log level: debug, info, warn or error")
}

// newLogger logs to the command's standard error at the level that was asked for.
func newLogger(cmd *cobra.Command) (*slog.Logger, error) {
	given, err := cmd.Flags().GetString("log-level")
	if err != nil {
		return nil, err
	}
	if debug, _ := cmd.Flags().GetBool("debug"); debug && !cmd.Flags().Changed("log-level") {
		given = "debug"
	}
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "warning": slog.LevelWarn,
		"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
	}
	l, ok := level[strings.ToLower(given)]
	if !ok {
		return nil, fmt.Errorf("not a valid log level: %q: use debug, info, warn or error", given)
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
}
