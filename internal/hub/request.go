package hub

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/skep/skep/internal/discovery"
)

const (
	clustersPath = "/v1/clusters"
	// tokenLength is that of 128 random bits in hexadecimal.
	tokenLength = 32
	// maxAddress is the length of an address in bytes: a DNS name has at most
	// 253, and a colon and a port follow.
	maxAddress = 253 + 6
)

// ttls are the times for which an address may be announced.
const (
	minTTL     = time.Second
	maxTTL     = 30 * 24 * time.Hour
	defaultTTL = discovery.DefaultTTL
)

// resource is what a path names.
type resource int

const (
	nothing  resource = iota
	health            // /healthz
	clusters          // /v1/clusters
	cluster           // /v1/clusters/TOKEN
)

// parsePath reads the path of a request, which has to be in the one form in
// which clients write it.
func parsePath(path string) (kind resource, token string) {
	switch path {
	case "/healthz":
		return health, ""
	case clustersPath, clustersPath + "/":
		return clusters, ""
	}
	token, ok := strings.CutPrefix(path, clustersPath+"/")
	if !ok || !isToken(token) {
		return nothing, ""
	}
	return cluster, token
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == tokenLength
}

// parseAddress reads the address of one engine, with white space around it as
// scripts send it.
func parseAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", errors.New("the address is missing: send host:port")
	}
	if len(text) > maxAddress {
		return "", fmt.Errorf("the address is longer than %d bytes: send host:port", maxAddress)
	}
	entry, err := discovery.ParseAddress(text)
	return string(entry), err
}

// parseTTL reads the ttl of a query, in seconds.
func parseTTL(query url.Values) (time.Duration, error) {
	text := query.Get("ttl")
	if text == "" {
		return defaultTTL, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < int64(minTTL/time.Second) || seconds > int64(maxTTL/time.Second) {
		return 0, fmt.Errorf("ttl must be a whole number of seconds from %d to %d", minTTL/time.Second, maxTTL/time.Second)
	}
	return time.Duration(seconds) * time.Second, nil
}
