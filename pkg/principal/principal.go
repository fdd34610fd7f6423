// Package principal is who calls. It travels from room to room beside the call;
// only the gateway makes one, from a key it has checked.
package principal

import (
	"context"
	"encoding/base64"
	"encoding/json"
)

// Kind is what sort of caller it is.
type Kind string

// The kinds of callers.
const (
	User      Kind = "user"
	Service   Kind = "service"
	Agent     Kind = "agent"
	Anonymous Kind = "anonymous"
)

// Principal is a caller. The zero Principal is nobody.
type Principal struct {
	Kind   Kind   `json:"kind,omitempty"`
	UserID string `json:"user,omitempty"`
	OrgID  string `json:"org,omitempty"`
	KeyID  string `json:"key,omitempty"`
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	// Admin says that the user administers the organisation.
	Admin bool `json:"admin,omitempty"`
	// GuestOrg is the organisation whose key an anonymous caller of an open app showed. It
	// gives no rights; it says whose share of the app's queues is taken.
	GuestOrg string `json:"guest,omitempty"`
	// AppID is the app of a caller of kind Agent.
	AppID string `json:"app,omitempty"`
}

type key struct{}

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context { return context.WithValue(ctx, key{}, p) }

// From returns the caller in ctx, or nobody.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(key{}).(Principal)
	return p
}

// Header is the name of the gRPC metadata entry that carries a principal.
const Header = "agentcloud-principal"

// Encode returns p as a header value; empty for nobody.
func (p Principal) Encode() string {
	if p == (Principal{}) {
		return ""
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "" // strings and a bool always marshal
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Decode reads a header value.
func Decode(header string) (Principal, error) {
	var p Principal
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}
