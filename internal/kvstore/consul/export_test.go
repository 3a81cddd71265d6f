package consul

// For tests of what only the wire shows.
var (
	LeastTTL  = leastTTL
	NextIndex = nextIndex
)
