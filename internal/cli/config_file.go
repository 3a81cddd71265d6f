package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxConfigFile bounds what is read of a --config file.
const maxConfigFile = 1 << 20

// setting is a flag as a file gives it: more than one value for a flag that is
// repeated.
type setting struct {
	name   string
	list   bool
	values []string
}

// readConfigFile gives the command the flags of its --config file, and returns
// its arguments: the discovery may stand in the file as well. What is given in
// both places is an error: nobody should have to guess which one counts.
func (f *manageFlags) readConfigFile(cmd *cobra.Command, args []string) ([]string, error) {
	if f.configFile == "" {
		if cmd.Flags().Changed("config") {
			return nil, errors.New("--config needs the name of a file")
		}
		return args, nil
	}
	text, err := readConfig(f.configFile)
	if err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	settings, err := parseSettings(text)
	if err == nil {
		args, err = apply(cmd.Flags(), settings, args)
	}
	if err != nil {
		return nil, fmt.Errorf("--config %s: %w", f.configFile, err)
	}
	return args, nil
}

func readConfig(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxConfigFile)
	}
	return text, err
}

// parseSettings reads a JSON object of texts, numbers, booleans and lists of
// those, in the order of the file.
func parseSettings(text []byte) ([]setting, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("it should be a JSON object of flags and their values%s", because(err))
	}
	var settings []setting
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("no JSON: %w", err)
		}
		name, _ := key.(string) // a key is never anything else
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		s := setting{name: name}
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%q: no JSON: %w", name, err)
		}
		if err := s.take(value); err != nil {
			return nil, err
		}
		settings = append(settings, s)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON object")
	}
	return settings, nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func (s *setting) take(value any) error {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	s.list = isList
	for _, v := range list {
		switch v := v.(type) {
		case string:
			s.values = append(s.values, v)
		case json.Number:
			s.values = append(s.values, v.String())
		case bool:
			s.values = append(s.values, fmt.Sprint(v))
		default:
			return fmt.Errorf("%q should be a text, a number, a boolean, or a list of those", s.name)
		}
	}
	return nil
}

// apply gives flags their settings, all or an error that names what is wrong.
func apply(flags *pflag.FlagSet, settings []setting, args []string) ([]string, error) {
	var unknown, both []string
	for _, s := range settings {
		flag := flags.Lookup(s.name)
		switch {
		case s.name == "discovery":
			if len(args) > 0 {
				both = append(both, s.name)
			}
		case flag == nil || s.name == "config" || s.name == "help":
			unknown = append(unknown, fmt.Sprintf("%q", s.name))
		case given(flags, flag):
			both = append(both, s.name)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("there is no flag %s; the keys are the names of flags, as 'skep manage --help' shows them", strings.Join(unknown, ", "))
	}
	if len(both) > 0 {
		return nil, fmt.Errorf("given both as a flag and in the file, where only one can count: %s", strings.Join(both, ", "))
	}
	for _, s := range settings {
		if s.name == "discovery" {
			if s.list {
				return nil, errors.New(`"discovery" takes one value, not a list`)
			}
			args = s.values
			continue
		}
		if err := set(flags, s); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// given says whether a flag was given, by any of the names that it has.
func given(flags *pflag.FlagSet, flag *pflag.Flag) bool {
	found := false
	flags.Visit(func(f *pflag.Flag) { found = found || f.Value == flag.Value })
	return found
}

func set(flags *pflag.FlagSet, s setting) error {
	if _, repeats := flags.Lookup(s.name).Value.(pflag.SliceValue); s.list && !repeats {
		return fmt.Errorf("%q takes one value, not a list", s.name)
	}
	for _, value := range s.values {
		if err := flags.Set(s.name, value); err != nil {
			return fmt.Errorf("%q: %w", s.name, err)
		}
	}
	return nil
}
