package cli

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/spf13/cobra"
)

// levelOf gives the least level that skep logs with a command line.
func levelOf(t *testing.T, debug string, args ...string) slog.Level {
	t.Helper()
	root := newRootCommand(func(name string) string { return map[string]string{"DEBUG": debug}[name] })
	var logger *slog.Logger
	root.AddCommand(&cobra.Command{Use: "probe", RunE: func(cmd *cobra.Command, _ []string) (err error) {
		logger, err = newLogger(cmd)
		return err
	}})
	root.SetErr(io.Discard)
	root.SetArgs(append(args, "probe"))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, levelFatal} {
		if logger.Enabled(context.Background(), level) {
			return level
		}
	}
	return levelPanic
}

func TestLog_levelIsTheOneThatWasAskedFor(t *testing.T) {
	for _, tc := range []struct {
		name, debug string
		args        []string
		want        slog.Level
	}{
		{"nothing is said", "", nil, slog.LevelInfo},
		{"--debug", "", []string{"--debug"}, slog.LevelDebug},
		{"$DEBUG", "1", nil, slog.LevelDebug},
		{"$DEBUG is true", "true", nil, slog.LevelDebug},
		{"$DEBUG is false", "false", nil, slog.LevelInfo},
		{"$DEBUG is another program's", "app:*", nil, slog.LevelInfo},
		{"--debug=false takes $DEBUG back", "1", []string{"--debug=false"}, slog.LevelInfo},
		{"a level goes before $DEBUG", "1", []string{"--log-level", "warn"}, slog.LevelWarn},
		{"a level goes before --debug", "", []string{"--debug", "-l", "error"}, slog.LevelError},
		{"the level that is the default goes before --debug, too", "", []string{"--debug", "-l", "info"}, slog.LevelInfo},
		{"fatal", "", []string{"-l", "fatal"}, levelFatal},
		{"panic", "", []string{"-l", "panic"}, levelPanic},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := levelOf(t, tc.debug, tc.args...); got != tc.want {
				t.Errorf("logs from %v on, want %v", got, tc.want)
			}
		})
	}
}
