package cli_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

func TestJoinAndList_workWithConsul(t *testing.T) {
	agent := consultest.New(consultest.Options{SessionTTLMin: time.Second, Strict: true})
	server := httptest.NewServer(agent)
	t.Cleanup(func() { agent.Close(); server.CloseClientConnections(); server.Close() })
	discovery := "consul://" + strings.TrimPrefix(server.URL, "http://") + "/deep/prefix"

	eventually(t, "list "+discovery, "")
	join1, stop1 := background(t, "join -advertise 10.0.0.1:2375 "+discovery)
	join2, stop2 := background(t, "join --addr=[::1]:2375 -heartbeat 1s -ttl 600s "+discovery)
	await(t, join1, "Registering on the discovery service every 1m0s")
	await(t, join2, "Registering on the discovery service every 1s")
	eventually(t, "list "+discovery, "10.0.0.1:2375\n[::1]:2375\n")
	eventually(t, "list -discovery-opt kv.path=elsewhere "+discovery, "")

	// The end of a join takes its address back at once.
	if code, said := stop1(); code != 0 || !strings.Contains(said, "Deregistered") {
		t.Errorf("status %d\n%s", code, said)
	}
	eventually(t, "list "+discovery, "[::1]:2375\n")
	if code, said := stop2(); code != 0 {
		t.Errorf("status %d\n%s", code, said)
	}
	eventually(t, "list "+discovery, "")
}
