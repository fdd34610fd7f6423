package fakemodel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// request is what this server reads of a chat completion request.
type request struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Tools    []struct {
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
	ToolChoice     any  `json:"tool_choice"`
	Stream         bool `json:"stream"`
	ResponseFormat struct {
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// text is the content as text, whether it is a string or a list of parts.
func (m message) text() string {
	var whole string
	if json.Unmarshal(m.Content, &whole) == nil {
		return whole
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(m.Content, &parts) // no text is an empty text
	var b strings.Builder
	for _, part := range parts {
		b.WriteString(part.Text)
	}
	return b.String()
}

func (r request) last() message { return r.Messages[len(r.Messages)-1] }

func (r request) call() Call {
	c := Call{Model: r.Model, Last: r.last().text(), LastRole: r.last().Role, Stream: r.Stream}
	for _, tool := range r.Tools {
		c.Tools = append(c.Tools, tool.Function.Name)
	}
	return c
}

// said is an answer: a text, or the call of a tool.
type said struct {
	text, tool, arguments string
}

func (s said) reason() string {
	if s.tool != "" {
		return "tool_calls"
	}
	return "stop"
}

func (s said) toolCall() map[string]any {
	return map[string]any{"index": 0, "id": "call_1", "type": "function", "function": map[string]any{"name": s.tool, "arguments": s.arguments}}
}

func (s said) usage(r request) map[string]any {
	in, out := 0, len(s.text)+len(s.arguments)
	for _, m := range r.Messages {
		in += len(m.Content)
	}
	in, out = in/4+1, out/4+1 // about four letters a token
	return map[string]any{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out}
}

func completion(r request, s said) map[string]any {
	body := map[string]any{"role": "assistant", "content": s.text}
	if s.tool != "" {
		body["content"], body["tool_calls"] = nil, []any{s.toolCall()}
	}
	return map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": r.Model, "usage": s.usage(r),
		"choices": []any{map[string]any{"index": 0, "message": body, "finish_reason": s.reason()}},
	}
}

// stream sends the answer word by word as server-sent events.
func stream(w http.ResponseWriter, r request, s said) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(delta map[string]any, reason any) {
		chunk, err := json.Marshal(map[string]any{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": r.Model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": reason}},
		})
		if err != nil {
			return // strings and numbers always marshal
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", chunk)
		_ = http.NewResponseController(w).Flush()
	}
	send(map[string]any{"role": "assistant"}, nil)
	if s.tool != "" {
		send(map[string]any{"tool_calls": []any{s.toolCall()}}, nil)
	}
	for word := range strings.SplitAfterSeq(s.text, " ") {
		send(map[string]any{"content": word}, nil)
	}
	send(map[string]any{}, s.reason())
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}
