// Package apifilter is the `filters` query parameter of the Docker Engine API:
// reading it in both its forms, matching against it as dockerd does, and
// writing it again for an engine below.
//
// It owns the syntax and the meaning of a match. Which keys a route allows, and
// what they are compared with, is the route's to say. Errors are of the kind
// [errdefs.ErrInvalidArgument] and bear dockerd's sentences (docker-api.md,
// section 1).
package apifilter
