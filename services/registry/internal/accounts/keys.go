package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

const (
	// keyPrefix is what the public command line demands of a key.
	keyPrefix = "lm_mcp_api_"
	// maxKey bounds what is hashed for a caller that nobody knows yet.
	maxKey   = 200
	hintSize = 4
)

// newKey makes a key of 128 random bits and more and the record that only has its hash.
func newKey(userID, name string, now, expires time.Time) (string, store.Key) {
	value := keyPrefix + rand.Text() + rand.Text()
	if name == "" {
		name = "key"
	}
	return value, store.Key{
		ID: id.Key.New(), UserID: userID, Hash: hash(value), Name: name,
		Hint: value[len(value)-hintSize:], CreatedAt: now, ExpiresAt: expires,
	}
}

// hash is how a key is kept and looked up. A plain digest is enough, since keys are
// random and long; the lookup by digest tells a prober nothing about the key.
func hash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

func wellFormed(value string) bool {
	return strings.HasPrefix(value, keyPrefix) && len(value) > len(keyPrefix) && len(value) <= maxKey
}
