package file

import "github.com/fsnotify/fsnotify"

// notices are what the system tells of changed files. The zero notices tell
// nothing.
type notices struct {
	events <-chan fsnotify.Event
	errs   <-chan error
	add    func(dir string) error // again for a directory it follows: no effect
	stop   func() error
}

// followFiles is how it is done outside of tests.
func followFiles() (notices, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return notices{}, err
	}
	return notices{events: w.Events, errs: w.Errors, add: w.Add, stop: w.Close}, nil
}

// close returns when no goroutine of theirs is left.
func (n notices) close() {
	if n.stop != nil {
		_ = n.stop() // nothing can be done about a failure
	}
}
