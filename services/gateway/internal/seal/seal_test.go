package seal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
)

func ring(t testing.TB, first byte) *seal.Ring {
	t.Helper()
	r, err := seal.New(bytes.Repeat([]byte{first}, 32), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedTextOpensForItsPurposeOnly(t *testing.T) {
	t.Parallel()
	r, payload := ring(t, 2), []byte(`{"run":"r"}`)
	text := r.Seal("t1", "app_a", payload)
	if text != r.Seal("t1", "app_a", payload) {
		t.Error("the same payload was sealed as two texts")
	}
	if got, err := r.Open("t1", "app_a", text); err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("opened as %q, %v", got, err)
	}
	for name, try := range map[string][3]string{
		"another kind":        {"s1", "app_a", text},
		"another kind's name": {"s1", "app_a", "s1" + text[2:]},
		"another purpose":     {"t1", "app_b", text},
		"with a tail":         {"t1", "app_a", text + "A"},
		"with a part more":    {"t1", "app_a", text + ".A"},
		"with a line's end":   {"t1", "app_a", text[:20] + "\n" + text[20:]},
		"cut":                 {"t1", "app_a", text[:len(text)-2]},
		"empty":               {"t1", "app_a", ""},
		"too long":            {"t1", "app_a", "t1.a." + strings.Repeat("A", 1<<20)},
	} {
		if got, err := r.Open(try[0], try[1], try[2]); err == nil {
			t.Errorf("%s: opened as %q", name, got)
		}
	}
}

func TestOldKeysOpenAndNewOnesSeal(t *testing.T) {
	t.Parallel()
	old, err := seal.New(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	text := old.Seal("t1", "a", []byte("x"))
	now := ring(t, 2)
	if _, err := now.Open("t1", "a", text); err != nil {
		t.Error("a text of the key before does not open")
	}
	if _, err := old.Open("t1", "a", now.Seal("t1", "a", []byte("x"))); err == nil {
		t.Error("the new key is not used")
	}
}

func TestLoadMakesAKeyOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys", "seal")
	first, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Open("k", "p", first.Seal("k", "p", []byte("x"))); err != nil {
		t.Error("the key of the first start is gone")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of keys is %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load(path); err == nil {
		t.Error("a bad key was taken")
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f, 2)
	sealed := r.Seal("t1", "a", []byte("payload"))
	for _, text := range []string{sealed, "t1..", "t1.AAAA.AAAA", "..."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := r.Open("t1", "a", text); err == nil && text != sealed {
			t.Fatalf("%q opened as %q", text, got)
		}
	})
}
