package server

import (
	"os"

	"golang.org/x/sys/unix"
)

// DieWithParent has the kernel end this process when the one that started it ends.
func DieWithParent() {
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil || os.Getppid() != parent {
		os.Exit(1)
	}
}
