// Package ha breaks managers, engines and stores while containers are being
// created, and looks at what users were promised for it. Everything is real:
// Docker Engines in a lab, etcd and ZooKeeper as the distribution ships them (of
// Consul there is what answers as an agent does, within the tests),
// `skep manage --replication` and `skep join` as processes.
//
// The managers and the engines are on the lab's LAN, the stores on the host.
// The only ways from one to the other are relays of the tests, one for each
// manager: so one can lose the store while another keeps it.
//
// Where engines cannot run, or a store is not installed, the tests are skipped
// and say why; with CI=true that is a failure.
package ha
