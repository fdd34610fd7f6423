// Package wrangler answers the five requests of the uploader that the public command
// line runs, in the dialect of the API it was written for, and streams the files on
// to the builder.
//
// The command line hides what these answers say. So whatever a person must read
// about an upload is recorded with it, and told by the deploy that follows.
package wrangler

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
)

// Prefix is where the dialect's paths begin.
const Prefix = "/api/accounts/"

// Codes of the dialect that the uploader acts on.
const (
	codeNotFound = 10090 // "new worker": selects the single PUT
	codeAuth     = 10000
	codeOther    = 10001
)

// Authenticator finds the principal behind a key.
type Authenticator interface {
	Authenticate(ctx context.Context, key string) (principal.Principal, error)
}

// Deps is everything a Handler needs from outside.
type Deps struct {
	Auth     Authenticator
	Registry registryv1.AppsServiceClient
	Bundles  builderv1.BundlesServiceClient
	Secrets  secretsv1.SecretsServiceClient
	Limits   Limits
}

// handler serves the dialect.
type handler struct{ deps Deps }

// New returns the handler of everything under Prefix.
func New(deps Deps) http.Handler {
	h := &handler{deps: deps}
	mux := http.NewServeMux()
	scripts := Prefix + "{account}/workers/scripts/{app}"
	mux.HandleFunc("GET "+Prefix+"{account}/workers/services/{app}", h.signedIn(h.service))
	mux.HandleFunc("GET "+scripts+"/deployments", h.signedIn(constant(map[string]any{"deployments": []any{}})))
	mux.HandleFunc("PUT "+scripts, h.signedIn(h.put))
	mux.HandleFunc("GET "+scripts+"/subdomain", h.signedIn(constant(map[string]any{"enabled": true, "previews_enabled": true})))
	mux.HandleFunc("GET "+Prefix+"{account}/workers/subdomain", h.signedIn(constant(map[string]any{"subdomain": "mcp"})))
	mux.HandleFunc(Prefix, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, codeOther, "this upload service has no such path", nil)
	})
	return mux
}

func (h *handler) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := h.deps.Auth.Authenticate(r.Context(), auth.Key(r))
		if err != nil {
			answerFault(w, err)
			return
		}
		next(w, r.WithContext(principal.With(r.Context(), caller)))
	}
}

func constant(result any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, 0, "", result) }
}

// service always says that there is no such worker, also for an app that has one:
// that makes the uploader send everything in a single PUT.
func (h *handler) service(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, codeNotFound, "not found", nil)
}

// put takes the upload. It is safe to repeat: the same files make the same bundle.
func (h *handler) put(w http.ResponseWriter, r *http.Request) {
	ctx, app := r.Context(), r.PathValue("app")
	if !id.App.Valid(app) {
		answerFault(w, fault.NotFound.Errorf("%q is no app id", app))
		return
	}
	owner, err := h.deps.Registry.AuthorizeUpload(ctx, &registryv1.AuthorizeUploadRequest{AppId: app})
	if err != nil {
		answerFault(w, err)
		return
	}
	record := &registryv1.RecordUploadRequest{AppId: app}
	from := newBody(w, r)
	bundle, err := h.receive(r, from, owner.GetOrgId(), app)
	switch {
	case refusal(err):
		record.Refused = fault.Message(err)
		from.drain(drainFactor * h.deps.Limits.Bytes)
	case err != nil:
		answerFault(w, err)
		return
	default:
		record.BundleId, record.Digest = bundle.GetBundleId(), bundle.GetDigest()
	}
	if _, err := h.deps.Registry.RecordUpload(ctx, record); err != nil {
		answerFault(w, err)
		return
	}
	answer(w, http.StatusOK, 0, "", map[string]any{
		"id": app, "etag": bundle.GetDigest(), "deployment_id": deploymentID(bundle.GetDigest()), "startup_time_ms": 1,
	})
}

// refusal says whether the files themselves are at fault, which the person must
// read, in contrast to a part of ours that is away, which the uploader retries.
func refusal(err error) bool { return fault.Invalid.Is(err) || fault.TooLarge.Is(err) }

// deploymentID is 32 hex digits, which the uploader demands.
func deploymentID(digest string) string {
	const zeros = "00000000000000000000000000000000"
	return (digest + zeros)[:len(zeros)]
}

type message struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func answerFault(w http.ResponseWriter, err error) {
	code := codeOther
	if fault.Unauthenticated.Is(err) {
		code = codeAuth
	}
	answer(w, fault.KindOf(err).HTTPStatus(), code, fault.Message(err), nil)
}

func answer(w http.ResponseWriter, status, code int, text string, result any) {
	body := struct {
		Success  bool      `json:"success"`
		Errors   []message `json:"errors"`
		Messages []message `json:"messages"`
		Result   any       `json:"result"`
	}{Success: code == 0, Errors: []message{}, Messages: []message{}, Result: result}
	if code != 0 {
		body.Errors = append(body.Errors, message{code, text})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
