// Package rawjson edits JSON without losing what it does not know.
//
// skep stands between clients and engines that may both be newer than itself.
// A body it changes must keep every field skep has never heard of, and every
// number as it was spelled. So an [Object] holds its members as raw bytes, in
// order; only the members that are set are encoded anew.
//
// The second reason is safety: what skep authorises must be what the engine
// acts on. encoding/json, which engines use, matches field names without
// regard to case and merges repeated ones, so `{"Image":"a","image":"b"}`
// means "b" there. [ParseObject] refuses such objects instead of guessing.
// That rule is for objects with fixed fields. An object whose keys users
// choose (labels, endpoint names) may hold "a" and "A" side by side: Decode
// it into a Go map rather than parsing it as an Object.
//
// The package knows nothing of Docker and never does I/O.
package rawjson
