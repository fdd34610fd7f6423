package deployments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

// answer is what a tool's result says.
type answer struct {
	text       string
	structured json.RawMessage
	isError    bool
}

// answerOf reads the result of tools/call (MCP, "Tool Result").
func answerOf(result json.RawMessage) (answer, error) {
	var r struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return answer{}, fmt.Errorf("the answer is no result of a tool: %w", err)
	}
	var texts []string
	for _, part := range r.Content {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
	}
	return answer{text: strings.Join(texts, "\n"), structured: r.Structured, isError: r.IsError}, nil
}

// misses says what was expected of an answer and did not come; empty: nothing.
func misses(e projectfile.Expect, a answer) string {
	switch {
	case a.isError != e.IsError && e.IsError:
		return "an error was expected, and none came"
	case a.isError != e.IsError:
		return "an answer was expected, and an error came"
	case !strings.Contains(a.text, e.Contains):
		return fmt.Sprintf("the answer should contain %q", e.Contains)
	case len(e.Equals) > 0 && e.Path != "" && !same(e.Equals, at(a.structured, e.Path)):
		return fmt.Sprintf("%s of the structured answer should be %s", e.Path, e.Equals)
	case len(e.Equals) > 0 && e.Path == "" && !saysSame(e.Equals, a.text):
		return fmt.Sprintf("the answer should be %s", e.Equals)
	}
	return ""
}

// saysSame compares a text as a text, and as JSON.
func saysSame(want json.RawMessage, text string) bool {
	var words string
	return json.Unmarshal(want, &words) == nil && words == text || same(want, json.RawMessage(text))
}

func same(want, got json.RawMessage) bool {
	w, err := decoded(want)
	if err != nil {
		return false
	}
	g, err := decoded(got)
	return err == nil && reflect.DeepEqual(w, g)
}

// decoded reads one value, with its numbers as the same ones however they are written.
func decoded(text json.RawMessage) (value any, err error) {
	return value, json.Unmarshal(bytes.TrimSpace(text), &value)
}

// at finds a part of a value by the names and numbers on the way to it; nil: there is none.
func at(value json.RawMessage, path string) json.RawMessage {
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch i, err := strconv.Atoi(name); {
		case json.Unmarshal(value, &object) == nil:
			value = object[name]
		case json.Unmarshal(value, &list) == nil && err == nil && i >= 0 && i < len(list):
			value = list[i]
		default:
			return nil
		}
	}
	return value
}
