package cli

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// The levels above error: what people ask for who want almost nothing.
const (
	levelFatal = slog.LevelError + 4
	levelPanic = slog.LevelError + 8
)

// addLogFlags gives a command and its sub-commands --debug and --log-level.
func addLogFlags(cmd *cobra.Command, getenv func(string) string) {
	// DEBUG is a variable that other programs use as well, with all kinds of
	// values: what is no boolean is not for us.
	debug, _ := strconv.ParseBool(getenv("DEBUG"))
	cmd.PersistentFlags().Bool("debug", debug, "log everything, unless --log-level says otherwise; also by $DEBUG")
	cmd.PersistentFlags().StringP("log-level", "l", "info", "log level: debug, info, warn, error, fatal or panic")
}

// logLevel is the level that was asked for.
func logLevel(cmd *cobra.Command) (slog.Level, error) {
	given, err := cmd.Flags().GetString("log-level")
	if err != nil {
		return 0, err
	}
	if debug, _ := cmd.Flags().GetBool("debug"); debug && !cmd.Flags().Changed("log-level") {
		given = "debug"
	}
	switch strings.ToLower(given) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	case "fatal":
		return levelFatal, nil
	case "panic":
		return levelPanic, nil
	}
	// The words are those that scripts know, though there is no logrus here.
	return 0, fmt.Errorf("not a valid logrus Level: %q", given)
}

// newLogger logs to the command's standard error at the level that was asked for.
func newLogger(cmd *cobra.Command) (*slog.Logger, error) {
	level, err := logLevel(cmd)
	if err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})), nil
}
