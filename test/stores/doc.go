// Package stores tests skep's key-value stores against the real servers: etcd
// and ZooKeeper as the distribution ships them, started by the tests on ports
// of the loopback interface, hung and stopped by them, with their data in
// directories that go with the test. Where a server is not installed its tests
// are skipped and say so.
package stores
