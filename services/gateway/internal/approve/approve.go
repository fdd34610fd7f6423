// Package approve lets people answer a run's question by a link: whoever may answer
// makes one and sends it to whom it concerns, who needs no key, only a browser.
//
// The link is the permission: sealed, for one question, for some days, of use until
// the question is answered. Looking at the page answers nothing, so that previews of
// links do no harm.
package approve

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
)

// Path is where links lead.
const Path = "/approve/"

const (
	kind    = "a1"
	purpose = "approve"
	// lifetime is how long a link works, if its question can be answered for so long.
	lifetime = 7 * 24 * time.Hour
	maxForm  = 64 << 10
)

// Authenticator finds the principal behind a key.
type Authenticator interface {
	Authenticate(ctx context.Context, key string) (principal.Principal, error)
}

// Deps is everything a Server needs from outside.
type Deps struct {
	Auth Authenticator
	Runs schedulerv1.RunsServiceClient
	Seal *seal.Ring
	Now  func() time.Time
}

// Server makes links and serves their pages.
type Server struct{ deps Deps }

// New returns a Server on deps, which must be complete.
func New(deps Deps) *Server { return &Server{deps} }

// Routes adds the paths to mux.
func (s *Server) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+rest.Prefix+"/v1/approvals/{question}/link", s.link)
	mux.HandleFunc("GET "+Path+"{token}", s.page)
	mux.HandleFunc("POST "+Path+"{token}", s.answer)
}

// ticket is what a link says.
type ticket struct {
	Question string `json:"q"`
	Org      string `json:"o"`
	// User made the link, and answers for what is done with it.
	User string `json:"u"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"e"`
}

// link makes a link for a question that the caller may answer.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
	caller, err := s.deps.Auth.Authenticate(r.Context(), auth.Key(r))
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	res, err := s.deps.Runs.GetQuestion(principal.With(r.Context(), caller), &schedulerv1.GetQuestionRequest{QuestionId: r.PathValue("question")})
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	if res.GetQuestion().GetState() != "open" {
		rest.WriteFault(w, fault.Conflict.Errorf("this question is %s already", res.GetQuestion().GetState()))
		return
	}
	expires := s.deps.Now().Add(lifetime)
	if until := res.GetQuestion().GetDeadline(); until != nil && until.AsTime().Before(expires) {
		expires = until.AsTime()
	}
	token := s.deps.Seal.Seal(kind, purpose, jsonrpc.Encode(ticket{res.GetQuestion().GetQuestionId(), caller.OrgID, caller.UserID, expires.Unix()}))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"url": origin(r) + Path + token, "expiresAt": expires.UTC().Format(time.RFC3339)})
}

// origin is the address by which the caller has reached us.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// open finds the question of a link, and the context in which its maker would answer.
func (s *Server) open(r *http.Request) (context.Context, *schedulerv1.Question, error) {
	payload, err := s.deps.Seal.Open(kind, purpose, r.PathValue("token"))
	var t ticket
	if err != nil || json.Unmarshal(payload, &t) != nil {
		return nil, nil, fault.NotFound.Errorf("This link is not complete, or was not made here.")
	}
	if s.deps.Now().Unix() > t.Expires {
		return nil, nil, fault.NotFound.Errorf("This link has expired. Ask for a new one.")
	}
	ctx := principal.With(r.Context(), principal.Principal{Kind: principal.User, UserID: t.User, OrgID: t.Org})
	res, err := s.deps.Runs.GetQuestion(ctx, &schedulerv1.GetQuestionRequest{QuestionId: t.Question})
	if fault.NotFound.Is(err) {
		return nil, nil, fault.NotFound.Errorf("This question is not kept any more.")
	}
	return ctx, res.GetQuestion(), err
}

// page shows the question.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	_, q, err := s.open(r)
	if err != nil {
		show(w, fault.KindOf(err).HTTPStatus(), view{Title: "Nothing to answer", Note: fault.Message(err)})
		return
	}
	show(w, http.StatusOK, viewOf(q, nil, ""))
}

// answer takes the form.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	ctx, q, err := s.open(r)
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		show(w, fault.KindOf(err).HTTPStatus(), view{Title: "Nothing to answer", Note: fault.Message(err)})
		return
	}
	if q.GetState() != "open" {
		show(w, http.StatusConflict, viewOf(q, nil, ""))
		return
	}
	result, err := resultOf(q, r.PostForm)
	if err == nil {
		var res *schedulerv1.AnswerQuestionResponse
		res, err = s.deps.Runs.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: q.GetQuestionId(), AnswerJson: string(result)})
		if err == nil && !res.GetAccepted() {
			show(w, http.StatusConflict, view{Title: "Too late", Note: "Somebody was faster, or the time for an answer is over."})
			return
		}
	}
	if err != nil {
		show(w, fault.KindOf(err).HTTPStatus(), viewOf(q, r.PostForm, fault.Message(err)))
		return
	}
	show(w, http.StatusOK, view{Title: "Thank you", Note: "Your answer has been taken. You can close this page."})
}
