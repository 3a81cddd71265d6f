package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/skep/skep/internal/rawjson"
)

// listed is an entry of an engine's list of containers.
type listed struct {
	id  string
	raw json.RawMessage // a part of the whole answer, which need not stay
	// sum is of what the entry says, but for what changes by the clock alone.
	sum uint64
}

// readList reads an answer to /containers/json.
func (e *Engine) readList(body []byte) ([]listed, error) {
	elements, err := rawjson.Elements(body)
	if err != nil {
		return nil, fmt.Errorf("engine %s: answer to /containers/json: %w", e.Name(), err)
	}
	list := make([]listed, len(elements))
	for i, element := range elements {
		if list[i], err = e.readEntry(element); err != nil {
			return nil, fmt.Errorf("decode listed container: %w", err)
		}
	}
	return list, nil
}

func (e *Engine) readEntry(element rawjson.Element) (l listed, err error) {
	l.raw = element.Raw
	if element.Err != nil { // a key that is there twice, which nobody knows how to read
		var head struct {
			ID string `json:"Id"`
		}
		err := json.Unmarshal(l.raw, &head)
		l.id, l.sum = head.ID, maphash.Bytes(e.seed, l.raw)
		return l, err
	}
	if _, err := element.Object.Decode("Id", &l.id); err != nil {
		return l, err
	}
	l.sum, err = e.entrySum(element.Object)
	return l, err
}

func (e *Engine) entrySum(o *rawjson.Object) (uint64, error) {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for name, value := range o.Members() {
		_, _ = h.Write(name)
		if string(name) != `"Status"` {
			_, _ = h.Write(value)
			continue
		}
		var status string
		if err := json.Unmarshal(value, &status); err != nil {
			return 0, err
		}
		_, _ = h.WriteString(lasting(status))
	}
	return h.Sum64(), nil
}

// lasting is what a status says beside the time: the first word, and what
// stands in parentheses. Of "Up 3 minutes (healthy)" it is "Up (healthy)"; the
// health and the exit code stand nowhere else in the list.
func lasting(status string) string {
	word, rest, _ := strings.Cut(status, " ")
	for {
		_, after, ok := strings.Cut(rest, "(")
		if !ok {
			return word
		}
		inside, behind, _ := strings.Cut(after, ")")
		word += " (" + inside + ")"
		rest = behind
	}
}

// keepEntry gives c what its entry in the list says, and what inspect knows
// better: there are many containers, so each word is kept once.
func (c *Container) keepEntry(raw json.RawMessage) error {
	o, err := rawjson.ParseObject(raw)
	if err != nil { // with a key twice
		o = new(rawjson.Object)
		for key, value := range map[string]any{"Id": c.ID, "Image": c.Image, "Created": c.Created.Unix()} {
			if err := o.Set(key, value); err != nil {
				return err
			}
		}
	}
	if err := o.Set("Labels", c.Labels); err != nil {
		return err
	}
	if c.State.Status != "" {
		// Engines tell of a pause before their list shows it.
		if err := o.Set("State", c.State.Status); err != nil {
			return err
		}
	}
	if ports, ok := o.Get("Ports"); ok && len(c.Ports) > 0 {
		c.RawPorts = bytes.Clone(ports)
		o.Delete("Ports")
	}
	o.Delete("Names")
	o.Delete("Status")
	c.Raw = bytes.Clone(o.Bytes())
	return nil
}
