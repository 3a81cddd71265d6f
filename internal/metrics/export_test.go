package metrics

// Readers is how many may read metrics at once.
const Readers = readers
