// Package engine is one Docker Engine as skep sees it: a connection, an
// identity, a health state, and an inventory of its containers, images,
// networks and volumes that follows the engine's event stream.
//
// An [Engine] owns its connections and the goroutines under [Engine.Run]. It
// tells an [Observer] what changed, in order. It knows nothing of other
// engines, of names that are unique over a cluster, or of who asks: that is
// the business of package cluster.
//
// The bytes of an engine's answers are kept beside what was read from them,
// so that fields unknown to this version of skep reach the user. That is also
// why requests are sent with net/http and not with the engine's Go client,
// which decodes answers into the types of its own day.
package engine
