package cluster

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A file system that is full to the last byte stops more than a load: so a spool
// leaves free what these say, whichever is less.
const (
	spoolLeaves      = 1 << 30 // bytes
	spoolLeavesShare = 20      // one part in so many of the file system
	// roomEvery is how many bytes may be written before room is asked for again.
	roomEvery = 8 << 20
)

// leaveRoom fails when n more bytes would take the last of the file system. It
// is the writer's.
func (s *spool) leaveRoom(n int) error {
	if s.unchecked += int64(n); s.unchecked < roomEvery || s.room == nil {
		return nil
	}
	s.unchecked = 0
	free, total, err := s.room()
	if err != nil {
		return spoolError(err)
	}
	if leave := min(spoolLeaves, total/spoolLeavesShare); free-int64(n) < leave {
		return spoolError(fmt.Errorf("%w: %d MB are free, and %d MB must stay so", syscall.ENOSPC, free>>20, leave>>20))
	}
	return nil
}

// roomAt asks the file system that a file is on.
func roomAt(f *os.File) (free, total int64, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var stat unix.Statfs_t
	asked := raw.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &stat) })
	if asked != nil {
		err = asked
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("fstatfs", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), int64(stat.Blocks) * int64(stat.Bsize), nil // int32 on some machines
}
