//go:build !linux

package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Sync puts everything below dir on the disk.
func Sync(dir string) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncFolder(name)
	})
}

func syncFolder(name string) error {
	file, err := os.Open(name) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
