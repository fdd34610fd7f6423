//go:build !linux

package server

// DieWithParent does nothing where the kernel offers no such signal; the supervisor
// then ends the process that an earlier life has left.
func DieWithParent() {}
