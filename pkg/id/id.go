// Package id makes and checks the names of things: a prefix that says what it is,
// and a UUID (RFC 9562, version 7, so that they sort by time).
package id

import (
	"strings"

	"github.com/google/uuid"
)

// Kind is the prefix of an id.
type Kind string

// The kinds of things that have ids. The public command line checks the prefixes
// of apps, configurations and secrets.
const (
	App              Kind = "app"
	AppConfiguration Kind = "apcnf"
	Secret           Kind = "mcpac_sc"
	User             Kind = "u"
	Org              Kind = "org"
	Key              Kind = "key"
	Version          Kind = "ver"
	Bundle           Kind = "bdl"
	Artifact         Kind = "art"
	Instance         Kind = "ins"
	Question         Kind = "qst"
	Event            Kind = "evt"
	Line             Kind = "lin"
	Session          Kind = "ses"
	Limit            Kind = "lim"
	PriorityRule     Kind = "prr"
	Batch            Kind = "bat"
	Rollout          Kind = "rol"
)

// New returns a new id. Secrets get a random UUID, since their creation time is
// nobody's business.
func (k Kind) New() string {
	if k == Secret {
		return string(k) + "_" + uuid.NewString()
	}
	return string(k) + "_" + uuid.Must(uuid.NewV7()).String()
}

// Of returns the id that always belongs to the parts.
func (k Kind) Of(parts ...string) string {
	return string(k) + "_" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join(parts, "\x00"))).String()
}

// Valid says whether s is an id of this kind, in canonical form.
func (k Kind) Valid(s string) bool {
	text, ok := strings.CutPrefix(s, string(k)+"_")
	if !ok || len(text) != 36 {
		return false
	}
	parsed, err := uuid.Parse(text)
	return err == nil && parsed.String() == text
}
