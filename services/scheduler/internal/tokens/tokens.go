// Package tokens makes the bearer tokens of agents and the hashes by which they are
// known again. No token is ever stored.
package tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// randomBytes make a token that cannot be guessed.
const randomBytes = 32

// Edge and Callback begin the two kinds of tokens, so that neither passes for the other.
const (
	Edge     = "acedge_"
	Callback = "acback_"
)

// New returns a token of a kind.
func New(kind string) string {
	random := make([]byte, randomBytes)
	_, _ = rand.Read(random) // never fails: it ends the process instead
	return kind + base64.RawURLEncoding.EncodeToString(random)
}

// Hash is what is kept of a token. A plain hash will do, since the token is random.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
