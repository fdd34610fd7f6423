// Package fakemodel is a model for tests and demonstrations: a server of the
// OpenAI-compatible chat dialect that answers at once, always the same, without a
// network or a key. It asks for a tool when it is offered one and knows no answer yet.
//
// It understands nothing. What it says follows from the shape of the request alone:
//
//   - after a tool's result: that result, as a sentence;
//   - a last message with "USE_TOOL name {arguments}": that tool call;
//   - tools offered: a call of the first one, with the smallest arguments its schema takes;
//   - a JSON schema wanted: its smallest instance;
//   - otherwise: an echo of the last message.
package fakemodel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options change how a Model behaves. The zero Options are a model that answers
// anybody at once.
type Options struct {
	// Key is the bearer key that callers must show; empty: none.
	Key string
	// Delay is how long each answer takes. A caller that goes away ends it.
	Delay time.Duration
}

// Call is what a Model was asked.
type Call struct {
	Model    string
	Last     string // text of the last message
	LastRole string
	Tools    []string
	Stream   bool
}

// Model is the server. It is safe for use by many callers.
type Model struct {
	options Options
	mux     *http.ServeMux

	mu    sync.Mutex
	calls []Call // the last maxCalls
}

const (
	maxBody  = 8 << 20
	maxCalls = 10_000
)

// New returns a Model, which is an http.Handler.
func New(options Options) *Model {
	m := &Model{options: options, mux: http.NewServeMux()}
	m.mux.HandleFunc("POST /v1/chat/completions", m.complete)
	m.mux.HandleFunc("GET /v1/models", m.models)
	m.mux.HandleFunc("GET /v1/calls", m.count)
	return m
}

// Calls are the requests so far, oldest first.
func (m *Model) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Call(nil), m.calls...)
}

// count tells how many requests had a text in their last message: GET /v1/calls?last=TEXT.
func (m *Model) count(w http.ResponseWriter, r *http.Request) {
	n, text := 0, r.URL.Query().Get("last")
	for _, call := range m.Calls() {
		if strings.Contains(call.Last, text) {
			n++
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"calls": n})
}

func (m *Model) record(c Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, c)
	m.calls = m.calls[max(0, len(m.calls)-maxCalls):]
}

// ServeHTTP answers a request of the dialect.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.options.Key != "" && r.Header.Get("Authorization") != "Bearer "+m.options.Key {
		writeError(w, http.StatusUnauthorized, "invalid_api_key", "the key is not the one this model wants")
		return
	}
	m.mux.ServeHTTP(w, r)
}

func (m *Model) models(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{
		map[string]any{"id": "fake", "object": "model", "owned_by": "agentcloud"},
	}})
}

func (m *Model) complete(w http.ResponseWriter, r *http.Request) {
	var req request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request_error", fmt.Sprintf("the request is no JSON of this dialect: %v", err))
		return
	}
	if len(req.Messages) == 0 {
		writeError(w, http.StatusBadRequest, "invalid_request_error", "messages must have at least one message")
		return
	}
	m.record(req.call())
	if !wait(r, m.options.Delay) {
		return
	}
	said := answer(req)
	if req.Stream {
		stream(w, req, said)
		return
	}
	writeJSON(w, http.StatusOK, completion(req, said))
}

// wait says whether the caller is still there after d.
func wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-timer.C:
		return true
	}
}

func writeError(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{"message": text, "type": strings.TrimSuffix(code, "_key"), "code": code}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
