package fakemodel_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/fakemodel"
)

const tool = `{"type":"function","function":{"name":"time_now","parameters":{"type":"object","required":["zone"],
	"properties":{"zone":{"type":"string","description":"a zone (for example 'UTC' or 'Asia/Tokyo')"},"verbose":{"type":"boolean"}}}}}`

func post(t *testing.T, m *fakemodel.Model, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(body)))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		request string
		want    string // part of the message
	}{
		"an echo":               {`{"messages":[{"role":"user","content":"hi"}]}`, `"content":"You said: hi"`},
		"content in parts":      {`{"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"o"}]}]}`, `"You said: ho"`},
		"a tool is asked for":   {`{"messages":[{"role":"user","content":"when?"}],"tools":[` + tool + `]}`, `"arguments":"{\"zone\":\"UTC\"}","name":"time_now"`},
		"a tool is named":       {`{"messages":[{"role":"user","content":"USE_TOOL time_now {\"zone\":\"CET\"}"}],"tools":[` + tool + `]}`, `"arguments":"{\"zone\":\"CET\"}"`},
		"no tool is wanted":     {`{"messages":[{"role":"user","content":"x"}],"tool_choice":"none","tools":[` + tool + `]}`, `"You said: x"`},
		"a person is not asked": {`{"messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"__human_input__"}}]}`, `"You said: x"`},
		"a tool has answered":   {`{"messages":[{"role":"tool","content":"noon"}],"tools":[` + tool + `]}`, `"The tool says: noon"`},
		"a schema is wanted": {
			`{"messages":[{"role":"user","content":"x"}],"response_format":{"json_schema":{"schema":{"type":"object","required":["n","kind"],"properties":{"n":{"type":"integer"},"kind":{"enum":["a","b"]}}}}}}`,
			`"content":"{\"kind\":\"a\",\"n\":1}"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, got := post(t, fakemodel.New(fakemodel.Options{}), tt.request)
			if status != http.StatusOK || !strings.Contains(got, tt.want) {
				t.Errorf("post(%s) = %d %s, want %s", tt.request, status, got, tt.want)
			}
		})
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	status, got := post(t, fakemodel.New(fakemodel.Options{}), `{"stream":true,"messages":[{"role":"user","content":"one two"}]}`)
	var text strings.Builder
	for line := range strings.Lines(got) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Fatalf("chunk %q: %v", data, err)
		}
		text.WriteString(chunk.Choices[0].Delta.Content)
	}
	if status != http.StatusOK || text.String() != "You said: one two" || !strings.HasSuffix(got, "data: [DONE]\n\n") {
		t.Errorf("stream = %d %q (%s), want the echo and [DONE]", status, text.String(), got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	open, locked := fakemodel.New(fakemodel.Options{}), fakemodel.New(fakemodel.Options{Key: "k"})
	tests := map[string]struct {
		model   *fakemodel.Model
		request string
		want    int
	}{
		"no JSON":     {open, `{`, http.StatusBadRequest},
		"no messages": {open, `{"messages":[]}`, http.StatusBadRequest},
		"no key":      {locked, `{"messages":[{"role":"user","content":"x"}]}`, http.StatusUnauthorized},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, body := post(t, tt.model, tt.request); got != tt.want || !strings.Contains(body, `"message"`) {
				t.Errorf("post(%s) = %d %s, want %d and a message", tt.request, got, body, tt.want)
			}
		})
	}
}

func TestCallsAreKept(t *testing.T) {
	t.Parallel()
	m := fakemodel.New(fakemodel.Options{})
	post(t, m, `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[`+tool+`]}`)
	calls := m.Calls()
	if len(calls) != 1 || calls[0].Last != "x" || calls[0].Model != "m" || calls[0].Tools[0] != "time_now" {
		t.Errorf("Calls() = %+v, want the one", calls)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	m := fakemodel.New(fakemodel.Options{})
	for _, text := range []string{"plan a", "plan b", "write a"} {
		post(t, m, `{"messages":[{"role":"user","content":"`+text+`"}]}`)
	}
	for text, want := range map[string]string{"plan": `"calls":2`, "": `"calls":3`, "x": `"calls":0`} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/calls?last="+text, nil))
		if got := w.Body.String(); !strings.Contains(strings.ReplaceAll(got, " ", ""), want) {
			t.Errorf("calls with %q = %s, want %s", text, got, want)
		}
	}
}
