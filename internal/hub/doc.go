// Package hub is the token service behind token:// discovery: engines announce
// their addresses under a token, managers read them. It is a small HTTP server
// over one file, for people who want discovery without running a key-value
// store.
//
// A token is all there is to know: whoever has it reads and changes the list of
// its cluster, and nobody can list tokens. The package owns the file and the
// HTTP surface. It never dials the addresses that it keeps, and it is no store
// for anything else: everything that a client can make it hold is bounded.
//
// The surface, below /v1:
//
//	POST   /clusters                    a new token, as text
//	GET    /clusters/TOKEN              the live addresses, as a JSON array
//	POST   /clusters/TOKEN?ttl=SECONDS  announce the address in the body
//	DELETE /clusters/TOKEN?addr=ADDR    take an address back
//	DELETE /clusters/TOKEN              forget the token and its addresses
//
// The facts of the first four are in classic-swarm.md, section 2.
package hub
