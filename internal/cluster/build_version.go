package cluster

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/skep/skep/internal/engine"
)

const (
	// classicBuilder and buildKitBuilder are the builders that an engine may
	// recommend to its clients, in the header Builder-Version of a ping.
	classicBuilder  = "1"
	buildKitBuilder = "2"

	// builderKnown is how long an engine's recommendation is believed, and
	// builderTimeout how long a ping waits for those that are not known.
	builderKnown   = 10 * time.Minute
	builderTimeout = time.Second
)

// builders remembers which builder each engine recommends. The zero value is
// ready.
type builders struct {
	mu   sync.Mutex
	byID map[string]recommended // by engine ID; guarded by mu
}

type recommended struct {
	builder string
	until   time.Time
}

// BuilderVersion is the builder to recommend to clients: BuildKit where every
// engine does, so that a client which goes by it builds the same way on any.
// Those whose own choice it is may use BuildKit all the same.
func (c *Cluster) BuilderVersion(ctx context.Context) string {
	members := c.answering()
	if len(members) == 0 {
		return classicBuilder
	}
	classic, unknown := c.buildKit.builders.look(members)
	if classic {
		return classicBuilder
	}
	replies := ask(ctx, unknown, builderTimeout, func(ctx context.Context, m *member) (string, error) {
		resp, err := m.Do(ctx, engine.Request{Method: http.MethodGet, Path: "/_ping", Unversioned: true})
		if err != nil {
			return "", err
		}
		resp.Body.Close()
		return resp.Header.Get("Builder-Version"), nil
	})
	for _, r := range replies {
		if r.err == nil {
			c.buildKit.builders.put(r.from, r.value)
		}
		if r.err != nil || r.value != buildKitBuilder {
			classic = true
		}
	}
	if classic {
		return classicBuilder
	}
	return buildKitBuilder
}

// look says whether an engine is known that does not recommend BuildKit, and
// else which must be asked. It forgets the engines that are not among members.
func (b *builders) look(members []*member) (classic bool, unknown []*member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	current := make(map[string]recommended, len(members))
	now := time.Now()
	for _, m := range members {
		id := m.Identity().ID
		known, ok := b.byID[id]
		switch {
		case !ok || now.After(known.until):
			unknown = append(unknown, m)
		default:
			current[id] = known
			classic = classic || known.builder != buildKitBuilder
		}
	}
	b.byID = current
	return classic, unknown
}

func (b *builders) put(m *member, builder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byID[m.Identity().ID] = recommended{builder, time.Now().Add(builderKnown)}
}
