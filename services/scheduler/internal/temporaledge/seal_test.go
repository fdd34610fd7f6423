package temporaledge

import (
	"bytes"
	"testing"
)

func TestSeal(t *testing.T) {
	t.Parallel()
	key, token := []byte("key"), []byte("Temporal's own")
	sealed := seal(key, token, "workflow", "run")
	if got, workflowID, runID, ok := unseal(key, sealed); !ok || !bytes.Equal(got, token) || workflowID != "workflow" || runID != "run" {
		t.Errorf("unseal() = %q, %q, %q, %v", got, workflowID, runID, ok)
	}
	if _, _, _, ok := unseal([]byte("other"), sealed); ok {
		t.Error("another key opens it")
	}
	if got := seal(key, nil, "w", "r"); got != nil {
		t.Errorf("an empty poll is sealed: %q", got)
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add(seal([]byte("k"), []byte("t"), "w", "r"))
	f.Add(append(sum([]byte("k"), []byte{0xff}), 0xff))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		// Also what this key has signed, whatever it is, must not end the process.
		for _, text := range [][]byte{sealed, append(sum([]byte("k"), sealed), sealed...)} {
			token, workflowID, runID, ok := unseal([]byte("k"), text)
			if ok && len(token) > 0 && !bytes.HasSuffix(seal([]byte("k"), token, workflowID, runID), token) {
				t.Errorf("unseal(%q) = %q", text, token)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	key, token := []byte("acedge_0123456789012345678901234567890123456789012"), make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := unseal(key, seal(key, token, "workflow", "run")); !ok {
			b.Fatal("it does not open")
		}
	}
}
