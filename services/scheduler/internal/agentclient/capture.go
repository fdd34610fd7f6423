package agentclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Prober implements deployments.Prober.
type Prober struct{}

// Capture asks a server for everything it offers.
func (Prober) Capture(ctx context.Context, serverURL string) (store.Capture, error) {
	s := &session{url: serverURL + "/mcp", http: client(callLimit)}
	return s.captureAll(ctx)
}

// endLimit is how long the end of a session may take, of which nobody has a use.
const endLimit = 2 * time.Second

// client goes where it is sent and nowhere else: an agent must not send it on.
func client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Call calls a tool in a session of its own. How long that may take is for ctx to say.
func (Prober) Call(ctx context.Context, serverURL, tool string, arguments json.RawMessage) (json.RawMessage, error) {
	s := &session{url: serverURL + "/mcp", http: client(0)}
	if _, err := s.open(ctx); err != nil {
		return nil, err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
		defer cancel()
		s.close(ending)
	}()
	if len(arguments) == 0 {
		arguments = json.RawMessage("{}")
	}
	return s.call(ctx, "tools/call", map[string]any{"name": tool, "arguments": arguments})
}

// captureAll opens a session, captures, and ends it.
func (s *session) captureAll(ctx context.Context) (store.Capture, error) {
	initialize, err := s.open(ctx)
	if err != nil {
		return store.Capture{}, err
	}
	defer s.close(context.WithoutCancel(ctx))
	return s.capture(ctx, initialize)
}

// capture asks for what the answer to initialize promises.
func (s *session) capture(ctx context.Context, initialize json.RawMessage) (c store.Capture, err error) {
	var hello struct {
		ServerInfo   struct{ Name string }      `json:"serverInfo"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	if err := json.Unmarshal(initialize, &hello); err != nil {
		return store.Capture{}, fmt.Errorf("answer to initialize: %w", err)
	}
	c = store.Capture{AppName: hello.ServerInfo.Name, InitializeJSON: string(initialize)}
	for _, list := range []struct {
		capability, method, field string
		into                      *string
	}{
		{"tools", "tools/list", "tools", &c.ToolsJSON},
		{"prompts", "prompts/list", "prompts", &c.PromptsJSON},
		{"resources", "resources/list", "resources", &c.ResourcesJSON},
		{"resources", "resources/templates/list", "resourceTemplates", &c.ResourceTemplatesJSON},
	} {
		if _, offered := hello.Capabilities[list.capability]; !offered {
			continue
		}
		if *list.into, err = s.list(ctx, list.method, list.field); err != nil {
			return store.Capture{}, err
		}
	}
	c.WorkflowsJSON, err = s.workflows(ctx, c.ToolsJSON)
	return c, err
}

// list joins all pages of a list.
func (s *session) list(ctx context.Context, method, field string) (string, error) {
	items := []json.RawMessage{}
	cursor := ""
	for range maxPages {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		result, err := s.call(ctx, method, params)
		if err != nil {
			return "", err
		}
		var page map[string]json.RawMessage
		if err := json.Unmarshal(result, &page); err != nil {
			return "", fmt.Errorf("%s: %w", method, err)
		}
		var part []json.RawMessage
		if err := json.Unmarshal(page[field], &part); err != nil {
			return "", fmt.Errorf("%s: %w", method, err)
		}
		items = append(items, part...)
		cursor = ""
		_ = json.Unmarshal(page["nextCursor"], &cursor)
		if cursor == "" {
			joined, err := json.Marshal(map[string]any{field: items})
			return string(joined), err
		}
	}
	return "", fmt.Errorf("%s: more than %d pages", method, maxPages)
}

// workflows asks an mcp-agent app for its workflows; other programs have none.
func (s *session) workflows(ctx context.Context, toolsJSON string) (string, error) {
	var tools struct {
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if toolsJSON == "" || json.Unmarshal([]byte(toolsJSON), &tools) != nil {
		return "", nil //nolint:nilerr // what is no list of tools names no workflows
	}
	for _, tool := range tools.Tools {
		if tool.Name != "workflows-list" {
			continue
		}
		result, err := s.call(ctx, "tools/call", map[string]any{"name": tool.Name, "arguments": map[string]any{}})
		if err != nil {
			return "", err
		}
		var content struct {
			Structured struct {
				Result json.RawMessage `json:"result"`
			} `json:"structuredContent"`
		}
		if err := json.Unmarshal(result, &content); err != nil {
			return "", fmt.Errorf("workflows-list: %w", err)
		}
		return string(content.Structured.Result), nil
	}
	return "", nil
}
