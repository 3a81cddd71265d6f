package daemon

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// InheritedSockets are those that systemd has opened for this process, nil for
// none. It may be called once: the environment that names them is cleared.
func InheritedSockets() []*os.File { return activation.Files(true) }

// NotifySystemd tells systemd how things stand, if it has started this process.
func NotifySystemd(state string) error {
	_, err := sd.SdNotify(false, state)
	return err
}

// serviceManager is who has started skep, and waits to hear of it.
type serviceManager struct {
	notify func(state string) error
	logger *slog.Logger
}

func (s serviceManager) say(state string) {
	if s.notify == nil {
		return
	}
	if err := s.notify(state); err != nil {
		s.logger.Warn("the service manager was not told", "state", state, "err", err)
	}
}

func (s serviceManager) ready()    { s.say(sd.SdNotifyReady) }
func (s serviceManager) stopping() { s.say(sd.SdNotifyStopping) }

// reloading comes with the time by the clock that systemd compares it to.
func (s serviceManager) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		s.say(sd.SdNotifyReloading)
		return
	}
	s.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000))
}
