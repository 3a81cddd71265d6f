package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// must is for encoding values that cannot fail to encode.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// publicIP is the address that an engine's published ports are reached at.
func publicIP(e *engine.Engine) string {
	if id := e.Identity(); id != nil {
		return id.IP
	}
	return ""
}

// withAddress replaces the unspecified addresses under key in a list of port
// objects, and drops the doubles that IPv4 and IPv6 then are.
func withAddress(list json.RawMessage, key, ip string) json.RawMessage {
	ports, err := rawjson.Split(list)
	if err != nil || len(ports) == 0 {
		return list // null, or empty
	}
	seen := make(map[string]bool, len(ports))
	out := []byte{'['}
	for _, raw := range ports {
		o, err := rawjson.ParseObject(raw)
		if err != nil {
			return list
		}
		var addr string
		if found, err := o.Decode(key, &addr); err == nil && (found || key == "HostIp") && unspecified(addr) && ip != "" {
			must(o.Set(key, ip))
		}
		if port := string(o.Bytes()); !seen[port] {
			seen[port] = true
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, port...)
		}
	}
	if out = append(out, ']'); bytes.Equal(out, list) {
		return list // which is kept already
	}
	return out
}

func unspecified(addr string) bool { return addr == "" || addr == "0.0.0.0" || addr == "::" }

// AppendEntry adds the container's entry for the list to dst: as its engine
// wrote it but for what the cluster knows better, which are names with the
// node's in front, the addresses that published ports are reached at, and a
// status that is true now.
func (c *Container) AppendEntry(dst []byte) []byte {
	status := hostDown
	if c.Engine.Answers() {
		status = statusText(&c.State, engineNow(c.Engine))
	}
	dst = append(dst, bytes.TrimSuffix(c.Raw, []byte("}"))...)
	dst = append(dst, `,"Names":[`...)
	node := c.Engine.Name()
	for i, name := range c.Names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, "/", node, "/", name)
	}
	dst = append(dst, ']')
	if c.ports != nil {
		dst = append(append(dst, `,"Ports":`...), c.ports...)
	}
	dst = appendQuoted(append(dst, `,"Status":`...), status)
	return append(dst, '}')
}

// appendQuoted adds the parts as one JSON string to dst.
func appendQuoted(dst []byte, parts ...string) []byte {
	start := len(dst)
	dst = append(dst, '"')
	for _, part := range parts {
		for i := range len(part) {
			if c := part[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
				quoted, err := json.Marshal(strings.Join(parts, ""))
				must(err)
				return append(dst[:start], quoted...)
			}
		}
		dst = append(dst, part...)
	}
	return append(dst, '"')
}

// NodeInfo is what inspect shows of the engine a container is on.
type NodeInfo struct {
	ID     string
	IP     string
	Addr   string
	Name   string
	Cpus   int
	Memory int64
	Labels map[string]string
}

func nodeInfo(e *engine.Engine) NodeInfo {
	id := e.Identity()
	if id == nil {
		return NodeInfo{Addr: e.Address().String()}
	}
	return NodeInfo{ID: id.ID, IP: id.IP, Addr: e.Address().String(), Name: id.Name, Cpus: id.CPUs, Memory: id.Memory, Labels: id.Labels}
}

// Inspect asks the container's engine about it and adds the node to the answer.
func (c *Cluster) Inspect(ctx context.Context, ref string, query url.Values, v apiversion.Version) ([]byte, error) {
	found, err := c.Reachable(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout(query))
	defer cancel()
	var body []byte
	err = found.Engine.Call(ctx, engine.Request{
		Method: http.MethodGet, Path: "/containers/" + found.ID + "/json", Query: query, Version: v,
	}, nil, &body)
	if err != nil {
		return nil, err
	}
	return inspectView(found.Engine, body)
}

// inspectTimeout allows an engine the time to add up the container's size.
func inspectTimeout(query url.Values) (d time.Duration) {
	if query.Get("size") != "" {
		return sizeTimeout
	}
	return answerTimeout
}

func inspectView(e *engine.Engine, body []byte) ([]byte, error) {
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, fmt.Errorf("engine %s: inspect: %w", e.Name(), err)
	}
	must(o.Set("Node", nodeInfo(e)))
	settings, err := o.Object("NetworkSettings")
	if err != nil {
		return nil, fmt.Errorf("engine %s: inspect: %w", e.Name(), err)
	}
	var ports map[string]json.RawMessage
	if found, err := settings.Decode("Ports", &ports); found && err == nil && len(ports) > 0 {
		ip := publicIP(e)
		for port, bindings := range ports {
			ports[port] = withAddress(bindings, "HostIp", ip)
		}
		must(settings.Set("Ports", ports))
		must(o.Set("NetworkSettings", settings))
	}
	return o.Bytes(), nil
}

// splitNode cuts NODE/rest where NODE is an engine of the cluster.
func (c *Cluster) splitNode(ref string) (node, rest string) {
	if n, r, ok := strings.Cut(ref, "/"); ok && n != "" && c.isNode(n) {
		return n, r
	}
	return "", ref
}
