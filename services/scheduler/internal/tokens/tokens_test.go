package tokens_test

import (
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, kind := range []string{tokens.Edge, tokens.Callback} {
		for range 100 {
			token := tokens.New(kind)
			// 32 bytes are 43 letters of base64 without padding.
			if !strings.HasPrefix(token, kind) || len(token) != len(kind)+43 {
				t.Fatalf("New(%s) = a token of %d letters that begins %.7s", kind, len(token), token)
			}
			hash := tokens.Hash(token)
			if seen[token] || seen[hash] {
				t.Fatalf("New(%s) gave a token twice", kind)
			}
			seen[token], seen[hash] = true, true
			if hash != tokens.Hash(token) || strings.Contains(hash, token[len(kind):]) {
				t.Fatalf("Hash() is not the same each time, or tells the token")
			}
		}
	}
}

func TestHashIsTheOneOnRecord(t *testing.T) {
	t.Parallel()
	// Hashes are kept in databases, so they may never change (SHA-256 of "abc", FIPS 180-2).
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := tokens.Hash("abc"); got != want {
		t.Errorf("Hash(abc) = %s, want %s", got, want)
	}
}
