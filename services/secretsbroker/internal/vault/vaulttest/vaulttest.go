// Package vaulttest is the suite that every driver of vault.Vault passes.
package vaulttest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
)

// Run runs the suite; open returns a fresh and empty vault.
func Run(t *testing.T, open func(*testing.T) vault.Vault) {
	t.Helper()
	cases := map[string]func(*testing.T, vault.Vault){
		"a value comes back":              valueComesBack,
		"the newest version wins":         newestWins,
		"what is not there is not found":  missingIsNotFound,
		"a deleted path starts anew":      deletedStartsAnew,
		"values are bytes":                valuesAreBytes,
		"a wrapped key comes back":        wrapComesBack,
		"a key opens only its own":        unwrapRefusesOthers,
		"writers of one path are ordered": writersAreOrdered,
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) { body(t, open(t)) })
	}
}

func valueComesBack(t *testing.T, v vault.Vault) {
	if err := v.Ready(t.Context()); err != nil {
		t.Fatalf("Ready() = %v, want nil", err)
	}
	if version, err := v.Put(t.Context(), "org_a/one", []byte("value")); err != nil || version != 1 {
		t.Fatalf("Put() = %d, %v, want version 1", version, err)
	}
	wantValue(t, v, "org_a/one", "value")
}

func newestWins(t *testing.T, v vault.Vault) {
	for i := 1; i <= 3; i++ {
		if version, err := v.Put(t.Context(), "org_a/one", fmt.Appendf(nil, "v%d", i)); err != nil || version != i {
			t.Fatalf("Put() = %d, %v, want version %d", version, err, i)
		}
	}
	wantValue(t, v, "org_a/one", "v3")
	first, err := v.GetVersion(t.Context(), "org_a/one", 1)
	if err != nil || string(first) != "v1" {
		t.Fatalf("GetVersion(1) = %q, %v, want v1", first, err)
	}
}

func missingIsNotFound(t *testing.T, v vault.Vault) {
	if _, err := v.Get(t.Context(), "org_a/none"); !fault.NotFound.Is(err) {
		t.Fatalf("Get(missing) = %v, want not found", err)
	}
	if _, err := v.Put(t.Context(), "org_a/one", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.GetVersion(t.Context(), "org_a/one", 9); !fault.NotFound.Is(err) {
		t.Fatalf("GetVersion(9) = %v, want not found", err)
	}
}

func deletedStartsAnew(t *testing.T, v vault.Vault) {
	if _, err := v.Put(t.Context(), "org_a/one", []byte("old")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Delete(t.Context(), "org_a/one"); err != nil {
			t.Fatalf("Delete() = %v, want nil", err)
		}
	}
	if _, err := v.Get(t.Context(), "org_a/one"); !fault.NotFound.Is(err) {
		t.Fatalf("Get(deleted) = %v, want not found", err)
	}
	if _, err := v.GetVersion(t.Context(), "org_a/one", 1); !fault.NotFound.Is(err) {
		t.Fatalf("GetVersion(deleted) = %v, want not found", err)
	}
}

func valuesAreBytes(t *testing.T, v vault.Vault) {
	value := bytes.Repeat([]byte{0, 1, 0xff, '\n', '"'}, 1000)
	if _, err := v.Put(t.Context(), "org_a/bytes", value); err != nil {
		t.Fatal(err)
	}
	wantValue(t, v, "org_a/bytes", string(value))
}

func wrapComesBack(t *testing.T, v vault.Vault) {
	wrapped, err := v.Wrap(t.Context(), "org_a", []byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := v.Unwrap(t.Context(), "org_a", wrapped)
	if err != nil || string(plain) != "0123456789abcdef" {
		t.Fatalf("Unwrap() = %q, %v, want the key", plain, err)
	}
}

func unwrapRefusesOthers(t *testing.T, v vault.Vault) {
	wrapped, err := v.Wrap(t.Context(), "org_a", []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Wrap(t.Context(), "org_b", []byte("other")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{wrapped, "", "nonsense"} {
		if _, err := v.Unwrap(t.Context(), "org_b", text); !fault.Invalid.Is(err) {
			t.Fatalf("Unwrap(%q) with another key = %v, want invalid", text, err)
		}
	}
}

func writersAreOrdered(t *testing.T, v vault.Vault) {
	const writers = 8
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for range writers {
		wait.Go(func() {
			version, err := v.Put(t.Context(), "org_a/race", []byte("x"))
			if err != nil {
				t.Errorf("Put() = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[version] = true
		})
	}
	wait.Wait()
	if len(seen) != writers {
		t.Fatalf("%d writers got %d distinct versions", writers, len(seen))
	}
}

func wantValue(t *testing.T, v vault.Vault, path, want string) {
	t.Helper()
	got, err := v.Get(t.Context(), path)
	if err != nil || string(got) != want {
		t.Fatalf("Get(%s) = %d bytes, %v, want %d bytes", path, len(got), err, len(want))
	}
}
