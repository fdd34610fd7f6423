package embedded_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/embedded"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/vaulttest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		v, err := open(t, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}

func TestValuesAreSealedOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Put(t.Context(), "org_a/one", []byte("canary-value-in-clear")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("Glob() = %v, %v, want the database and the key", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("canary-value-in-clear")) {
			t.Errorf("%s holds the value in clear", file)
		}
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(t *testing.T, key string)
		want  string // part of the error; empty: opens
	}{
		"as it was":       {spoil: func(*testing.T, string) {}},
		"key file lost":   {spoil: remove, want: "put it back from your backup"},
		"key file public": {spoil: chmod, want: "chmod 600"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			v, err := open(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Put(t.Context(), "p", []byte("x")); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, filepath.Join(dir, "master.json"))
			_, err = open(t, dir)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("Open() = %v, want %q", err, tt.want)
			}
		})
	}
}

func open(t *testing.T, dir string) (*embedded.Vault, error) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "vault.db"), embedded.Migrations())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return embedded.Open(t.Context(), db, filepath.Join(dir, "master.json"))
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
}
