// Package page holds what every list call shares: bounded page sizes and opaque
// continuation tokens.
package page

import (
	"encoding/base64"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Size returns how many rows to give: the request's wish within 1 and most, or usual
// when it has none.
func Size(requested, usual, most int) int {
	if requested <= 0 {
		return min(usual, most)
	}
	return min(requested, most)
}

// Encode makes a token of a position; no position, no token.
func Encode(position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(position))
}

// Decode reads a token back. It fails with fault.Invalid.
func Decode(token string) (string, error) {
	position, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", fault.Invalid.Wrap(err, "the page token is damaged; start again without it")
	}
	return string(position), nil
}
