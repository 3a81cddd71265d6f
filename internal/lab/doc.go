// Package lab runs real Docker Engines on one Linux machine, each in a small
// machine of its own, joined by a LAN that nothing can leave. It is for
// development, demos and tests: engines are up in seconds, and one of them can
// be cut from the LAN, frozen, killed or lose its power by a single call.
//
// # A machine
//
// A machine is a set of namespaces (network, process, mount, host name, IPC)
// whose pid 1 is this program. Killing pid 1 ends every process and every mount
// of the machine at once, which is what a power cut looks like: the disk stays,
// nothing else does. A machine's /run is a fresh tmpfs, its /etc and /opt are
// the host's with a throw-away layer on top, its /sys shows its own network. So
// an engine in it finds no trace of the host's engine, containerd, D-Bus or
// firewall daemon, and writes nowhere but into the lab's directory.
//
// # The LAN
//
// The LAN, called "hub", is a network namespace with a bridge and an address.
// It has no way out, so two labs may use the same addresses. Programs that
// should see the engines over TCP run in it through Command; they have the
// host's files, so their unix sockets are reachable from the host.
//
// # What it owns
//
// The lab's directory, the network namespaces NAME-hub and NAME-nK, and the
// cgroups below /NAME. Down removes all of them. What bears one of these names
// without this lab's mark is never touched: the mark of a network namespace is
// the alias of its loopback device, the mark of a process is its pid together
// with its start time, or the command line that only this package writes.
//
// # Threads and namespaces
//
// The calling process never enters a namespace but on threads that are thrown
// away afterwards. Everything else is done by the skep executable, which this
// package runs again under hidden subcommands (see RunHelper). A test binary
// must therefore name one in Config.Exe; package labtest builds it.
package lab
