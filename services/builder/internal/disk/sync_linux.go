package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync puts everything on dir's file system on the disk: one call instead of one
// for each of thousands of files.
func Sync(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(folder.Fd())), folder.Close()) //nolint:gosec // a descriptor fits
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
