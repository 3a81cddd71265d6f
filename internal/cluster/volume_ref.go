package cluster

import (
	"encoding/json"
	"strings"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// readVolumes finds the nodes of the volumes that are asked for as NODE/name,
// the way lists show them, and leads the container there. NODE/ is for us, not
// for the engine. A bare name needs no node: each engine has or makes its own.
func (c *Cluster) readVolumes(r *createRequest) error {
	host, err := r.body.Object("HostConfig")
	if err != nil {
		return invalid("invalid JSON: %v", err)
	}
	binds, changedBinds, err := c.readBinds(r, host)
	if err != nil {
		return err
	}
	mounts, changedMounts, err := c.readMounts(r, host)
	if err != nil {
		return err
	}
	if changedBinds {
		must(host.Set("Binds", binds))
	}
	if changedMounts {
		must(host.Set("Mounts", mounts))
	}
	if changedBinds || changedMounts {
		must(r.body.Set("HostConfig", host))
	}
	return nil
}

func (c *Cluster) readBinds(r *createRequest, host *rawjson.Object) (binds []string, changed bool, err error) {
	if _, err := host.Decode("Binds", &binds); err != nil {
		return nil, false, invalid("invalid JSON: %v", err)
	}
	for i, bind := range binds {
		source, rest, ok := strings.Cut(bind, ":")
		if !ok {
			continue // a path in the container, with a volume without a name
		}
		name, moved, err := c.leadToVolume(r, source)
		if err != nil {
			return nil, false, err
		}
		if moved {
			binds[i], changed = name+":"+rest, true
		}
	}
	return binds, changed, nil
}

func (c *Cluster) readMounts(r *createRequest, host *rawjson.Object) (mounts []json.RawMessage, changed bool, err error) {
	if _, err := host.Decode("Mounts", &mounts); err != nil {
		return nil, false, invalid("invalid JSON: %v", err)
	}
	for i, raw := range mounts {
		mount, err := rawjson.ParseObject(raw)
		if err != nil {
			return nil, false, invalid("invalid JSON: %v", err)
		}
		var m engine.Mount
		for key, into := range map[string]*string{"Type": &m.Type, "Source": &m.Source} {
			if _, err := mount.Decode(key, into); err != nil {
				return nil, false, invalid("invalid JSON: %v", err)
			}
		}
		if m.Type != "volume" {
			continue
		}
		name, moved, err := c.leadToVolume(r, m.Source)
		if err != nil {
			return nil, false, err
		}
		if moved {
			must(mount.Set("Source", name))
			mounts[i], changed = mount.Bytes(), true
		}
	}
	return mounts, changed, nil
}

// leadToVolume restricts the container to the node that source names, if it
// does, and gives the volume's name there.
func (c *Cluster) leadToVolume(r *createRequest, source string) (name string, moved bool, err error) {
	node, name := c.splitNode(source)
	if node == "" {
		return source, false, nil // a path, or a bare name
	}
	var on []*engine.Engine
	for _, m := range c.all() {
		if isEngine(m.Engine, node) {
			on = append(on, m.Engine)
		}
	}
	return name, true, r.restrict(on, "volume "+source)
}
