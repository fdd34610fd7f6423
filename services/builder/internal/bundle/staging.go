package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
)

// A Staging is a bundle in the making. It is a folder nobody looks at until Close
// has said that everything in it is on the disk.
type Staging struct {
	dir    string
	limits Limits
	tree   *tree
	sums   map[string]Sum
	bytes  int64
	now    *writer
}

// writer is the file that is being written.
type writer struct {
	name  string
	file  *os.File
	sum   hash.Hash
	bytes int64
	head  []byte
}

// NewStaging starts a bundle in dir, which must be empty and nobody else's.
func NewStaging(dir string, limits Limits) *Staging {
	return &Staging{dir: dir, limits: limits, tree: newTree(), sums: map[string]Sum{}}
}

// Begin ends the file before and begins the next.
func (s *Staging) Begin(name string) error {
	if err := s.finish(); err != nil {
		return err
	}
	if len(s.sums) >= s.limits.Files {
		return fault.TooLarge.Errorf("the bundle has more than %d files; list what is not needed in .mcpacignore", s.limits.Files)
	}
	if err := CheckPath(name, s.limits); err != nil {
		return err
	}
	if err := s.tree.add(name); err != nil {
		return err
	}
	full := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil { //nolint:gosec // agents read it under another user
		return fmt.Errorf("make folder of bundle: %w", err)
	}
	file, err := os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // the path was checked
	if err != nil {
		return fmt.Errorf("make file of bundle: %w", err)
	}
	s.now = &writer{name: name, file: file, sum: sha256.New()}
	return nil
}

// Write adds bytes to the file that was begun last.
func (s *Staging) Write(chunk []byte) error {
	w := s.now
	if w == nil {
		return fault.Invalid.Errorf("bytes came before the name of a file")
	}
	w.bytes += int64(len(chunk))
	s.bytes += int64(len(chunk))
	if w.bytes > s.limits.FileBytes {
		return fault.TooLarge.Errorf("the file %q has more than %d bytes; list it in .mcpacignore or fetch it at run time", w.name, s.limits.FileBytes)
	}
	if s.bytes > s.limits.Bytes {
		return fault.TooLarge.Errorf("the bundle has more than %d bytes; list what is not needed in .mcpacignore", s.limits.Bytes)
	}
	if missing := 2 - len(w.head); missing > 0 {
		w.head = append(w.head, chunk[:min(missing, len(chunk))]...)
	}
	w.sum.Write(chunk)
	if _, err := w.file.Write(chunk); err != nil {
		return fmt.Errorf("write file of bundle: %w", err)
	}
	return nil
}

// finish closes the file that is being written. Programs stay programs: the upload
// loses the mode, the first two bytes tell.
func (s *Staging) finish() error {
	w := s.now
	if w == nil {
		return nil
	}
	s.now = nil
	s.sums[w.name] = Sum(w.sum.Sum(nil))
	var mode error
	if bytes.Equal(w.head, []byte("#!")) {
		mode = w.file.Chmod(0o755)
	}
	if err := errors.Join(mode, w.file.Close()); err != nil {
		return fmt.Errorf("close file of bundle: %w", err)
	}
	return nil
}

// Close ends the last file, puts everything on the disk and returns the digest.
func (s *Staging) Close(files int) (string, error) {
	if err := s.finish(); err != nil {
		return "", err
	}
	if len(s.sums) != files {
		return "", fault.Invalid.Errorf("the upload says %d files and sent %d; send it again", files, len(s.sums))
	}
	if files == 0 {
		return "", fault.Invalid.Errorf("the bundle has no files")
	}
	if err := disk.Sync(s.dir); err != nil {
		return "", fmt.Errorf("put bundle on disk: %w", err)
	}
	return Digest(s.sums), nil
}

// Bytes is how many have been written.
func (s *Staging) Bytes() int64 { return s.bytes }

// Discard leaves nothing behind.
func (s *Staging) Discard() {
	if s.now != nil {
		_ = s.now.file.Close() // it is going away
	}
	_ = os.RemoveAll(s.dir) // what is left is swept at the next start
}
