// Package disk is the builder's folder: bundles, environments and tools under the
// names of their contents, caches, logs, and a staging place that is swept.
//
// A thing is made in staging and renamed to its name when it is whole, so that what
// has a name is complete whatever was killed. It knows nothing of what is inside.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Disk is the folder. Only one process may use it at a time.
type Disk struct {
	root string
	lock *os.File
	mu   sync.Mutex
}

// Open takes dir for this process and sweeps what an earlier one left half-done.
func Open(dir string) (*Disk, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find data folder: %w", err)
	}
	d := &Disk{root: root}
	for _, name := range []string{"bundles", "environments", "tools", "cache", "logs"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil { //nolint:gosec // agents read it under another user
			return nil, fmt.Errorf("make data folder: %w", err)
		}
	}
	if d.lock, err = takeLock(filepath.Join(root, "builder.lock")); err != nil {
		return nil, err
	}
	if err := d.sweep(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func takeLock(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		return nil, errors.Join(fmt.Errorf("another builder uses %s; stop it, or give this one a data folder of its own", filepath.Dir(name)), file.Close())
	}
	return file, nil
}

// sweep empties the staging place.
func (d *Disk) sweep() error {
	if err := removeAll(d.staging()); err != nil {
		return fmt.Errorf("sweep staging: %w", err)
	}
	return os.MkdirAll(d.staging(), 0o755) //nolint:gosec // agents read it under another user
}

// Close gives the folder back.
func (d *Disk) Close() error { return d.lock.Close() }

// Lock keeps things from being named and being taken away at the same moment. It
// returns the unlock.
func (d *Disk) Lock() func() {
	d.mu.Lock()
	return d.mu.Unlock
}

func (d *Disk) staging() string { return filepath.Join(d.root, "staging") }

// Root is the folder itself.
func (d *Disk) Root() string { return d.root }

// Bundle is the folder of a bundle's files.
func (d *Disk) Bundle(org, digest string) string {
	return filepath.Join(d.root, "bundles", org, digest)
}

// Environment is the folder of a Python environment.
func (d *Disk) Environment(digest string) string {
	return filepath.Join(d.root, "environments", digest)
}

// Tool is the folder of a Node program.
func (d *Disk) Tool(digest string) string { return filepath.Join(d.root, "tools", digest) }

// Cache is the folder of the named cache.
func (d *Disk) Cache(name string) string { return filepath.Join(d.root, "cache", name) }

// Log is the file of a build's log.
func (d *Disk) Log(bundleID string) string {
	return filepath.Join(d.root, "logs", bundleID+".log")
}

// Stage makes a new folder that is nobody else's.
func (d *Disk) Stage(purpose string) (string, error) {
	dir, err := os.MkdirTemp(d.staging(), purpose+"-")
	if err != nil {
		return "", fmt.Errorf("make staging folder: %w", err)
	}
	return dir, os.Chmod(dir, 0o755) //nolint:gosec // agents read it under another user
}

// Publish gives the folder staged its name, in one step and durably. When the name
// is taken it has the same content already, and staged is left to its maker.
func Publish(staged, name string) error {
	if Exists(name) {
		return nil
	}
	if err := os.Rename(staged, name); err != nil {
		return fmt.Errorf("name %s: %w", filepath.Base(name), err)
	}
	return syncFolder(filepath.Dir(name))
}

// Names lists what is in a kind's folder: "environments", "tools", or a folder of
// "bundles".
func (d *Disk) Names(kind ...string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(filepath.Join(append([]string{d.root}, kind...)...))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", filepath.Join(kind...), err)
	}
	return entries, nil
}

// Exists says whether there is something called name.
func Exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Bury takes the folder name out of sight in one step and returns where it lies;
// nothing when there was none.
func (d *Disk) Bury(name string) (string, error) {
	if !Exists(name) {
		return "", nil
	}
	grave, err := os.MkdirTemp(d.staging(), "grave-")
	if err != nil {
		return "", fmt.Errorf("make staging folder: %w", err)
	}
	if err := os.Rename(name, filepath.Join(grave, "it")); err != nil {
		return "", fmt.Errorf("bury %s: %w", filepath.Base(name), err)
	}
	return grave, nil
}

// Empty removes what Bury has put away, and returns how many bytes that freed.
func Empty(grave string) (int64, error) {
	if grave == "" {
		return 0, nil
	}
	size, err := Size(grave)
	return size, errors.Join(err, removeAll(grave))
}

// Size counts the bytes below dir that go when dir goes: a file that has another
// name elsewhere, as hard links to a cache have, stays.
func Size(dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink == 1 {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", filepath.Base(dir), err)
	}
	return size, nil
}

// removeAll removes also folders that their maker has write-protected.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(name, 0o700) //nolint:gosec // it is going away
		}
		return nil
	})
	return os.RemoveAll(dir)
}
