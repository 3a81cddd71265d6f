package zk

// What the tests of the parsers need.
var (
	ReadGreeting = readGreeting
	Waiting      = waiting
)
