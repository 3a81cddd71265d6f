package container

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

func (c *Router) list(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	filters, err := apifilter.Parse(query.Get("filters"))
	if err != nil {
		return err
	}
	limit, _ := strconv.Atoi(query.Get("limit")) // as engines do: what is no number is no limit
	list, err := c.cluster.List(r.Context(), cluster.ListOptions{
		All: dockerapi.Bool(r, "all"), Limit: limit, Before: query.Get("before"), Since: query.Get("since"),
		Size: dockerapi.Bool(r, "size"), Filters: filters,
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_ = list.Write(w) // the client has gone; there is nobody to tell
	return nil
}

func (c *Router) inspect(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	body, err := c.cluster.Inspect(r.Context(), vars["name"], r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, body)
}

func (c *Router) create(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	body, err := dockerapi.ReadJSON(r)
	if err != nil {
		return err
	}
	if body == nil {
		return dockerapi.Invalid("config cannot be empty in order to create a container")
	}
	answer, err := c.cluster.Create(r.Context(), cluster.CreateOptions{
		Query: r.URL.Query(), Body: body, RegistryAuth: r.Header.Get("X-Registry-Auth"), Version: dockerapi.VersionOf(r),
	})
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusCreated, answer)
}

func (c *Router) rename(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := c.cluster.Rename(r.Context(), vars["name"], r.URL.Query().Get("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Router) remove(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := c.cluster.Remove(r.Context(), vars["name"], r.URL.Query()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Router) prune(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	filters, err := apifilter.Parse(r.URL.Query().Get("filters"))
	if err != nil {
		return err
	}
	answer, err := c.cluster.PruneContainers(r.Context(), filters)
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}

// createExec notes where the exec is: what follows names only its ID.
func (c *Router) createExec(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	found, err := c.cluster.Reachable(vars["name"])
	if err != nil {
		return err
	}
	body, err := dockerapi.ReadJSON(r)
	if err != nil {
		return err
	}
	var answer []byte
	err = found.Engine.Call(r.Context(), engine.Request{
		Method: http.MethodPost, Path: path(found, "/exec"), Query: r.URL.Query(), Version: dockerapi.VersionOf(r),
	}, json.RawMessage(body), &answer)
	if err != nil {
		return err
	}
	var created struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &created); err != nil {
		return err
	}
	c.cluster.RememberExec(created.ID, found.Engine)
	return dockerapi.WriteRaw(w, http.StatusCreated, answer)
}
