package simengine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	api "github.com/moby/moby/api/types/container"
)

// containerName is what Docker takes for a container's name.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func badName(name string) error {
	return &failure{http.StatusBadRequest, fmt.Sprintf("Invalid container name (%s), only %s are allowed", name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")}
}

func (e *Engine) createContainer(w http.ResponseWriter, r *http.Request) {
	var whole map[string]json.RawMessage
	if !readBody(w, r, &whole) {
		return
	}
	c, ref, err := newContainer(whole)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	c.name = strings.TrimPrefix(r.URL.Query().Get("name"), "/")
	if c.name != "" && !containerName.MatchString(c.name) {
		failWith(w, badName(c.name))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.image = e.findImage(ref); c.image == nil {
		fail(w, http.StatusNotFound, "No such image: "+ref)
		return
	}
	c.id = e.newID()
	if c.name == "" {
		c.name = "sim_" + c.id[:12]
	}
	if other := e.names[c.name]; other != nil {
		fail(w, http.StatusConflict, fmt.Sprintf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+c.name, other.id))
		return
	}
	e.addContainer(c)
	e.tell(c, "create", nil)
	answerRaw(w, http.StatusCreated, []byte(`{"Id":"`+c.id+`","Warnings":[]}`+"\n"))
}

// newContainer reads the body of a create. What it does not know stays in the
// config, as a real engine keeps it; what has the wrong type is refused, so that
// what inspect gives back can be read.
func newContainer(whole map[string]json.RawMessage) (c *container, image string, err error) {
	host := whole["HostConfig"]
	delete(whole, "HostConfig")
	delete(whole, "NetworkingConfig")
	raw, err := json.Marshal(whole)
	if err != nil {
		return nil, "", err
	}
	var config api.Config
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, "", fmt.Errorf("container config: %w", err)
	}
	if config.Image == "" {
		return nil, "", fmt.Errorf("no image given; name one, as in busybox")
	}
	if len(host) == 0 || string(host) == "null" {
		host = json.RawMessage("{}")
	}
	var hc api.HostConfig
	if err := json.Unmarshal(host, &hc); err != nil {
		return nil, "", fmt.Errorf("HostConfig: %w", err)
	}
	ports, err := portsOf(hc.PortBindings)
	if err != nil {
		return nil, "", err
	}
	command := append(config.Entrypoint, config.Cmd...)
	if len(command) == 0 {
		command = []string{"sh"}
	}
	return &container{
		config: raw, host: host, labels: config.Labels, tty: config.Tty, ports: ports,
		autoRemove: hc.AutoRemove, restarts: hc.RestartPolicy.IsAlways() || hc.RestartPolicy.IsUnlessStopped(),
		path: command[0], args: command[1:], state: created, created: time.Now().UTC(),
	}, config.Image, nil
}
