// Package signin is the page that the public command line opens for a person who has
// no key yet: it says how to get one, and hands out a key of their own to somebody
// who shows one that works.
package signin

import (
	"context"
	_ "embed"
	"html/template"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

// Path is where the command line sends people.
const Path = "/api/auth/signin"

const (
	maxForm = 4 << 10
	// keyName is what the key is called in lists.
	keyName = "mcp-agent command line"
)

//go:embed signin.html
var source string

var page = template.Must(template.New("signin").Parse(source))

// Authenticator finds the principal behind a key.
type Authenticator interface {
	Authenticate(ctx context.Context, key string) (principal.Principal, error)
}

// New returns the page's handler.
func New(who Authenticator, accounts registryv1.AccountsServiceClient) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, view{}) })
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		key, err := handOut(r, who, accounts)
		if err != nil {
			show(w, fault.KindOf(err).HTTPStatus(), view{Error: fault.Message(err)})
			return
		}
		show(w, http.StatusOK, view{Key: key})
	})
	return mux
}

func handOut(r *http.Request, who Authenticator, accounts registryv1.AccountsServiceClient) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", fault.Invalid.Wrap(err, "the form cannot be read")
	}
	caller, err := who.Authenticate(r.Context(), r.PostForm.Get("key"))
	if err != nil {
		return "", err
	}
	res, err := accounts.CreateKey(principal.With(r.Context(), caller), &registryv1.CreateKeyRequest{Name: keyName})
	if err != nil {
		return "", err
	}
	return res.GetApiKey(), nil
}

type view struct{ Key, Error string }

func show(w http.ResponseWriter, status int, v view) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = page.Execute(w, v)
}
