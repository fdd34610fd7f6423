package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// masterKey reads the keyset in file, or makes it when there is none and mayMake.
func masterKey(file string, mayMake bool) (tink.AEAD, error) {
	handle, err := readKeyset(file)
	if errors.Is(err, fs.ErrNotExist) && mayMake {
		handle, err = makeKeyset(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("secrets are stored but their master key %s is missing: put it back from your backup", file)
	}
	if err != nil {
		return nil, fmt.Errorf("master key %s: %w", file, err)
	}
	return aead.New(handle)
}

func readKeyset(file string) (*keyset.Handle, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %o): run chmod 600", info.Mode().Perm())
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
}

// makeKeyset writes a new keyset and has it on disk, with its folder entry, before
// the first value can be sealed with it.
func makeKeyset(file string) (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&raw)); err != nil {
		return nil, err
	}
	return handle, writeSynced(file, raw.Bytes())
}

func writeSynced(file string, content []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".master-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // gone already when the rename worked
	_, err = temp.Write(content)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), file); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
