package agenthost_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
)

func TestExtract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, err := agenthost.Extract(dir)
	if err != nil {
		t.Fatalf("Extract = %v", err)
	}
	main := filepath.Join(path, agenthost.Package, "__main__.py")
	want, err := os.ReadFile(main)
	if err != nil {
		t.Fatalf("read the extracted entry: %v", err)
	}
	tests := map[string]func() error{
		"again":               func() error { return nil },
		"after an edit":       func() error { return os.WriteFile(main, []byte("broken"), 0o600) },
		"after a loss":        func() error { return os.Remove(main) },
		"a file in its place": func() error { return errOf(os.RemoveAll(path), os.WriteFile(path, nil, 0o600)) },
		"with compiled files": func() error { return os.Mkdir(filepath.Join(path, agenthost.Package, "__pycache__"), 0o755) },
	}
	for desc, disturb := range tests {
		if err := disturb(); err != nil {
			t.Fatalf("%s: %v", desc, err)
		}
		again, err := agenthost.Extract(dir)
		if err != nil || again != path {
			t.Errorf("%s: Extract = %q, %v, want %q", desc, again, err, path)
		}
		if got, err := os.ReadFile(main); err != nil || string(got) != string(want) {
			t.Errorf("%s: the entry is not what was embedded (%v)", desc, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("Extract left %v, %v, want nothing", left, err)
	}
}

func TestExtractAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := agenthost.Extract(dir); err != nil {
				t.Errorf("Extract = %v", err)
			}
		})
	}
	all.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("ReadDir = %v, %v, want one directory", entries, err)
	}
}

func errOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
