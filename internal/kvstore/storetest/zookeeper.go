//go:build linux

package storetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// zookeeperJar is where Debian puts ZooKeeper; it names its dependencies itself.
const zookeeperJar = "/usr/share/java/zookeeper.jar"

// StartZooKeeper starts a ZooKeeper of one server, whose sessions may be as
// short as a second.
func StartZooKeeper(t *testing.T) *Server {
	t.Helper()
	return StartZooKeepers(t, 1)[0]
}

// StartZooKeepers starts an ensemble of n servers.
func StartZooKeepers(t *testing.T, n int) []*Server {
	t.Helper()
	java := program(t, "java")
	if _, err := os.Stat(zookeeperJar); err != nil {
		missing(t, "zookeeper", err)
	}
	ensemble, class := "", "org.apache.zookeeper.server.ZooKeeperServerMain"
	if n > 1 {
		class = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
		ensemble = "initLimit=20\nsyncLimit=6\n"
		for i := range n {
			ensemble += fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", i+1, freePort(t), freePort(t))
		}
	}
	var members []*Server
	for i := range n {
		dir, port := t.TempDir(), freePort(t)
		// Above its data stands who it is, which is not lost with it.
		home := filepath.Join(dir, "data")
		config := filepath.Join(dir, "zoo.cfg")
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			filepath.Join(home, "myid"): fmt.Sprint(i + 1),
			config: fmt.Sprintf("tickTime=500\nmaxSessionTimeout=60000\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n"+
				"admin.enableServer=false\n4lw.commands.whitelist=ruok,srvr\nfsync.warningthresholdms=10000\n%s", home, port, ensemble),
		} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := &Server{
			Name: "zookeeper", Address: fmt.Sprintf("127.0.0.1:%d", port),
			log: filepath.Join(dir, "log"), data: filepath.Join(home, "version-2"),
			args: []string{java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.jmx.log4j.disable=true", "-cp", zookeeperJar, class, config},
		}
		s.ready = func(ctx context.Context) error { return Exchange(ctx, s.Address, "srvr", "Mode: ") }
		members = append(members, s)
	}
	own(t, members)
	return members
}
