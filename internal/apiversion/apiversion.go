// Package apiversion compares Docker API versions such as "1.41".
package apiversion

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a Docker API version. The zero Version means "none asked for".
type Version struct{ Major, Minor int }

// The versions that skep speaks. Max is the newest whose answers it knows how
// to merge over engines: from 1.52 on, events and disk usage have other shapes.
var (
	Min = Version{1, 24}
	Max = Version{1, 51}
)

// Parse reads "MAJOR.MINOR".
func Parse(s string) (Version, error) {
	major, minor, ok := strings.Cut(s, ".")
	maj, err1 := strconv.ParseUint(major, 10, 15)
	min, err2 := strconv.ParseUint(minor, 10, 15)
	if !ok || err1 != nil || err2 != nil {
		return Version{}, fmt.Errorf("API version %q is not of the form MAJOR.MINOR", s)
	}
	return Version{int(maj), int(min)}, nil
}

// CutPath splits "/v1.41/info" into "1.41" and "/info". What looks like a version
// may still be none that Parse takes; a path without one is rest.
func CutPath(path string) (version, rest string, ok bool) {
	after, found := strings.CutPrefix(path, "/v")
	if !found {
		return "", path, false
	}
	version, rest, found = strings.Cut(after, "/")
	if !found || version == "" || strings.Trim(version, "0123456789.") != "" {
		return "", path, false
	}
	return version, "/" + rest, true
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// IsZero says that no version was given.
func (v Version) IsZero() bool { return v == Version{} }

// Less orders versions by number, part by part: 1.9 is less than 1.10.
func (v Version) Less(o Version) bool {
	if v.Major != o.Major {
		return v.Major < o.Major
	}
	return v.Minor < o.Minor
}

// Clamp returns v, or the bound it lies beyond.
func (v Version) Clamp(low, high Version) Version {
	switch {
	case v.Less(low):
		return low
	case high.Less(v):
		return high
	default:
		return v
	}
}
