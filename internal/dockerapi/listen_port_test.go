package dockerapi_test

import (
	"net"
	"strings"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

// Who starts skep where Docker listens already is told what is in the way.
func TestListen_dockersPortInUseNamesDocker(t *testing.T) {
	// A loopback address of the test's own: others may want 127.0.0.1:2375.
	const addr = "127.23.75.1:2375"
	taken, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port cannot be taken by this test: %v", err)
	}
	defer taken.Close()
	_, err = dockerapi.Listen("tcp://"+addr, dockerapi.ListenOptions{})
	if err == nil || !strings.HasSuffix(err.Error(), ": is Docker already running on this machine? Try using a different port") {
		t.Errorf("error %v", err)
	}
}
