package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// canary is part of every secret value that the scripts give to the cloud.
const canary = "c4n4ry-never-in-the-open"

// searchSecrets looks for the canary in every file that the cloud keeps: databases,
// streams, workflow histories, logs, bundles, environments. Only the store of secrets
// may hold it, and that one seals it.
func (c *cloud) searchSecrets(t *testing.T) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(c.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.Contains(path, "/site-packages/") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if bytes.Contains(raw, []byte(canary)) {
			t.Errorf("a secret value is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were searched; is this the cloud's folder?", files)
	}
}
