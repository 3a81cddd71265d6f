// Package version says which skep this is.
package version

import "runtime/debug"

// Version is skep's own version, as `skep version` and the API report it.
const Version = "0.1.0"

// Commit is the git revision the binary was built from, "unknown" when the Go
// toolchain did not record one.
func Commit() string { return setting("vcs.revision", "unknown") }

// BuildTime is the time of that revision in RFC 3339, or "".
func BuildTime() string { return setting("vcs.time", "") }

func setting(key, fallback string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fallback
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return fallback
}
