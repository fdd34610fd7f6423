package bundle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// Sum is the SHA-256 of one file's content.
type Sum [sha256.Size]byte

// Digest is SHA-256 over the sorted paths and the sums of their contents, hex. A
// length stands before each path, so that no two trees write the same bytes.
func Digest(sums map[string]Sum) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		sum := sums[name]
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(name)))
		h.Write(length[:])
		io.WriteString(h, name) //nolint:errcheck,gosec // a hash never fails
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// DigestFS is the Digest of the files in tree.
func DigestFS(tree fs.FS) (string, error) {
	sums := map[string]Sum{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		sums[name], err = sumFile(tree, name)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("digest files: %w", err)
	}
	return Digest(sums), nil
}

func sumFile(tree fs.FS, name string) (Sum, error) {
	file, err := tree.Open(name)
	if err != nil {
		return Sum{}, err
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return Sum{}, err
	}
	return Sum(h.Sum(nil)), nil
}
