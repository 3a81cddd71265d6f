package stores

// Split is for the test of the parser.
var Split = split
