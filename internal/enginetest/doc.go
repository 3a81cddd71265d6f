// Package enginetest is a Docker Engine for tests: a small fake that holds
// images, containers, networks and volumes in memory, serves as much of the
// engine's HTTP API as skep asks of an engine, and tells its changes on
// /events as a real one does.
//
//	engines := enginetest.StartMany(t, 3)          // n1, n2, n3
//	engines[0].AddImage(enginetest.Image{Tags: []string{"busybox:latest"}})
//	engines[1].Handle("POST", "/images/create", failing)  // this one behaves otherwise
//	c := enginetest.Cluster(t, cluster.Config{}, engines...)
//
// Everything is stopped at the end of the test. A fake proves what skep asks
// and what it makes of the answers; what real engines answer is proven in test/.
package enginetest
