package simengine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filters are a request's filters by key. Both forms are read: lists, and the
// maps to true that clients send.
type filters map[string][]string

func parseFilters(text string) (filters, error) {
	if text == "" {
		return nil, nil
	}
	var sets map[string]map[string]bool
	if err := json.Unmarshal([]byte(text), &sets); err == nil {
		f := filters{}
		for key, set := range sets {
			for value, on := range set {
				if on {
					f[key] = append(f[key], value)
				}
			}
		}
		return f, nil
	}
	var f filters
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("invalid filters: %w", err)
	}
	return f, nil
}

// allow refuses keys that are not known: a filter that is passed over would
// show more than was asked for.
func (f filters) allow(keys ...string) error {
	for key := range f {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("invalid filter '%s'", key)
		}
	}
	return nil
}

// any says whether one of the values of key fits; no value fits everything.
func (f filters) any(key string, fits func(string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], fits)
}

// labels says whether all label filters fit.
func (f filters) labels(have map[string]string) bool {
	for _, want := range f["label"] {
		key, value, exact := strings.Cut(want, "=")
		if got, ok := have[key]; !ok || exact && got != value {
			return false
		}
	}
	return true
}

func readFilters(w http.ResponseWriter, query url.Values, keys ...string) (filters, bool) {
	f, err := parseFilters(query.Get("filters"))
	if err == nil {
		err = f.allow(keys...)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
	}
	return f, err == nil
}

func (e *Engine) listContainers(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f, ok := readFilters(w, query, "id", "name", "label", "status", "ancestor", "network", "exited", "health", "is-task")
	if !ok {
		return
	}
	all, _ := strconv.ParseBool(query.Get("all"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	all = all || limit > 0 || len(f["status"]) > 0 || len(f["exited"]) > 0
	now := time.Now()
	out := []byte{'['}
	e.mu.Lock()
	shown := 0
	for i := len(e.ordered) - 1; i >= 0 && (limit <= 0 || shown < limit); i-- {
		c := e.ordered[i]
		if c == nil || !all && !c.alive() || !c.fits(f) {
			continue
		}
		if shown++; shown > 1 {
			out = append(out, ',')
		}
		out = c.appendEntry(out, e, now)
	}
	e.mu.Unlock()
	answerRaw(w, http.StatusOK, append(out, ']', '\n'))
}

func (c *container) fits(f filters) bool {
	return f.any("id", func(v string) bool { return strings.HasPrefix(c.id, v) }) &&
		f.any("name", func(v string) bool { return strings.Contains("/"+c.name, v) }) &&
		f.any("status", func(v string) bool { return string(c.state) == v }) &&
		f.any("ancestor", func(v string) bool { return c.image.is(v) }) &&
		f.any("network", func(v string) bool { return v == "bridge" }) &&
		f.any("exited", func(v string) bool { return c.state == exited && strconv.Itoa(c.exitCode) == v }) &&
		f.any("health", func(v string) bool { return v == "none" }) &&
		f.any("is-task", func(v string) bool { return v == "false" || v == "0" }) &&
		f.labels(c.labels)
}

// appendEntry writes c as lists show it. By hand: encoding tens of thousands of
// them by reflection would cost more than what is measured.
func (c *container) appendEntry(b []byte, e *Engine, now time.Time) []byte {
	b = append(b, `{"Id":"`...)
	b = append(b, c.id...)
	b = append(b, `","Names":[`...)
	b = appendText(b, "/"+c.name)
	b = append(b, `],"Image":`...)
	b = appendText(b, c.image.ref())
	b = append(b, `,"ImageID":"`...)
	b = append(b, c.image.id...)
	b = append(b, `","Command":`...)
	b = appendText(b, strings.Join(append([]string{c.path}, c.args...), " "))
	b = append(b, `,"Created":`...)
	b = strconv.AppendInt(b, c.created.Unix(), 10)
	b = append(b, `,"Ports":[`...)
	b = c.appendPorts(b)
	b = append(b, `],"Labels":`...)
	b = appendMap(b, c.labels)
	b = append(b, `,"State":"`...)
	b = append(b, c.state...)
	b = append(b, `","Status":`...)
	b = appendText(b, c.status(now))
	b = append(b, `,"HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":`...)
	b = c.appendEndpoint(b, e)
	return append(b, `}},"Mounts":[]}`...)
}

// appendEndpoint writes the container's place on the default network.
func (c *container) appendEndpoint(b []byte, e *Engine) []byte {
	b = append(b, `{"IPAMConfig":null,"Links":null,"Aliases":null,"NetworkID":"`...)
	b = append(b, e.networks[0].ID...) // bridge, which cannot be removed
	b = append(b, `","EndpointID":"`...)
	if c.alive() {
		b = append(b, c.id...)
		return append(b, `","Gateway":"172.17.0.1","IPAddress":"172.17.0.2","IPPrefixLen":16,"MacAddress":"02:42:ac:11:00:02","DriverOpts":null}`...)
	}
	return append(b, `","Gateway":"","IPAddress":"","IPPrefixLen":0,"MacAddress":"","DriverOpts":null}`...)
}

func (c *container) status(now time.Time) string {
	since := func(t time.Time) string {
		d := now.Sub(t)
		switch {
		case d < time.Minute:
			return fmt.Sprintf("%d seconds", int(d.Seconds()))
		case d < time.Hour:
			return fmt.Sprintf("%d minutes", int(d.Minutes()))
		default:
			return fmt.Sprintf("%d hours", int(d.Hours()))
		}
	}
	switch c.state {
	case running:
		return "Up " + since(c.started)
	case paused:
		return "Up " + since(c.started) + " (Paused)"
	case exited:
		return fmt.Sprintf("Exited (%d) %s ago", c.exitCode, since(c.finished))
	default:
		return "Created"
	}
}

// appendText writes s as JSON; most texts need no escape.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' || s[i] > '~' {
			quoted, _ := json.Marshal(s) // a string always has an encoding
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendMap(b []byte, m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, k), ':')
		b = appendText(b, m[k])
	}
	return append(b, '}')
}
