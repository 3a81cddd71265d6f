// Package virtualengine tests skep as its users meet it: the stock docker CLI,
// an SDK and Compose talk to `skep manage` over three real engines of a lab,
// and what they print and return must be what one engine would.
//
// A run has a stage: a lab of its own, a skep that is built for it, a registry
// on the lab's LAN, and an image with one small program (testdata/tiny) on all
// engines. TestMain builds the stage, runs the tests in a second process and
// takes the stage down whatever becomes of that process, a panic or a timeout
// included.
//
// Tests run one after the other. Each begins with empty engines, and may leave
// behind what it likes: the next one begins by sweeping.
//
// The environment:
//
//	CI=true                   a machine that cannot run engines is a failure, not a skip
//	SKEP_BIN                  the skep to test instead of one that is built
//	SKEP_TEST_RACE=1          build skep with the race detector
//	SKEP_TEST_DOCKER_CLIS     more docker CLIs to test with, colon-separated
//	DOCKERD                   the engine to use
package virtualengine
