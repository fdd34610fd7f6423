// Package agentclient shakes hands with an agent's MCP server and records what it
// offers. It reads answers as text, so that nothing of them is lost on the way.
package agentclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const (
	// protocol is the version of MCP in which is asked.
	protocol  = "2025-06-18"
	callLimit = 30 * time.Second
	maxAnswer = 16 << 20
	maxPages  = 100
)

// session is one client of an agent's server.
type session struct {
	url, id string
	http    *http.Client
	next    int
	// modern sessions are none: each request says everything (MCP 2026-07-28).
	modern bool
}

type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// open initializes a session and returns the server's answer.
func (s *session) open(ctx context.Context) (json.RawMessage, error) {
	result, err := s.call(ctx, "initialize", hello())
	if err != nil {
		return nil, err
	}
	return result, s.notify(ctx, "notifications/initialized")
}

// hello are the params of initialize.
func hello() map[string]any {
	return map[string]any{
		"protocolVersion": protocol, "capabilities": map[string]any{}, "clientInfo": map[string]string{"name": "agentcloud", "version": "1"},
	}
}

// call asks and waits for the answer.
func (s *session) call(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	s.next++
	if s.modern {
		params["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion": stateless, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}
	}
	res, err := s.post(ctx, map[string]any{"jsonrpc": "2.0", "id": s.next, "method": method, "params": params})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if id := res.Header.Get("Mcp-Session-Id"); id != "" {
		s.id = id
	}
	a, err := read(res, s.next)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	if a.Error != nil {
		return nil, fault.Invalid.Errorf("%s: the server answers with error %d: %s", method, a.Error.Code, a.Error.Message)
	}
	return a.Result, nil
}

func (s *session) notify(ctx context.Context, method string) error {
	res, err := s.post(ctx, map[string]any{"jsonrpc": "2.0", "method": method})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (s *session) post(ctx context.Context, message map[string]any) (*http.Response, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if s.modern {
		req.Header.Set("Mcp-Protocol-Version", stateless)
		req.Header.Set("Mcp-Method", method(message))
	}
	if s.id != "" {
		req.Header.Set("Mcp-Session-Id", s.id)
		req.Header.Set("Mcp-Protocol-Version", protocol)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		_ = res.Body.Close()
		return nil, fault.Invalid.Errorf("the server answers %s", res.Status)
	}
	return res, nil
}

func method(message map[string]any) string {
	name, _ := message["method"].(string)
	return name
}

// close ends the session on the server.
func (s *session) close(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url, nil)
	if err != nil {
		return
	}
	req.Header.Set("Mcp-Session-Id", s.id)
	if res, err := s.http.Do(req); err == nil {
		_ = res.Body.Close()
	}
	s.http.CloseIdleConnections()
}

// read finds the answer with that id in a JSON body or in a stream of events.
func read(res *http.Response, id int) (answer, error) {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		return answer{}, fmt.Errorf("content type %q: %w", res.Header.Get("Content-Type"), err)
	}
	body := io.LimitReader(res.Body, maxAnswer)
	if kind == "application/json" {
		var a answer
		return a, json.NewDecoder(body).Decode(&a)
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		var a answer
		if ok && json.Unmarshal(data, &a) == nil && string(a.ID) == fmt.Sprint(id) && (a.Result != nil || a.Error != nil) {
			return a, nil
		}
	}
	return answer{}, errors.Join(errors.New("the stream ended without an answer"), lines.Err())
}
