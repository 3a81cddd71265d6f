package cli

import (
	"fmt"
	"strings"
)

// discoveryArg returns the discovery URL of a command: its one argument or,
// if it has none, the environment's.
func discoveryArg(verb string, args []string, getenv func(string) string) (string, error) {
	required := fmt.Sprintf("discovery required to %s a cluster. See 'skep %s --help'.", verb, verb)
	switch len(args) {
	case 0:
		if url := firstEnv(getenv, "SKEP_DISCOVERY", "SWARM_DISCOVERY"); url != "" {
			return url, nil
		}
		return "", sentenceError(required)
	case 1:
		if args[0] == "" {
			return "", sentenceError(required)
		}
		return args[0], nil
	default:
		return "", sentenceError(fmt.Sprintf("%s It takes one argument, not %d.", required, len(args)))
	}
}

// firstEnv is the value of the first of the environment variables that has
// one, "" if none has.
func firstEnv(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// parseOpts reads the values of a flag that is given as key=value, any number
// of times; the last of a key counts. Flag is its name with the dashes.
func parseOpts(flag string, kvs []string) (map[string]string, error) {
	opts := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		key, value, found := strings.Cut(kv, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("%s must contain key=value strings", flag)
		}
		opts[key] = value
	}
	return opts, nil
}

// sentenceError is a whole sentence for the user, with capital letter and full
// stop, where scripts know the words.
type sentenceError string

func (e sentenceError) Error() string { return string(e) }
