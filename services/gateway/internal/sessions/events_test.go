package sessions_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stream string
		data   []string
		raw    string // when it is not the whole stream
	}{
		"one":               {stream: "data: a\n\n", data: []string{"a"}},
		"two":               {stream: "event: message\r\ndata: a\r\n\r\nid: 2\ndata:b\n\n", data: []string{"a", "b"}},
		"lines are joined":  {stream: "data: a\ndata:\ndata:  c\n\n", data: []string{"a\n\n c"}},
		"comments":          {stream: ": ping\n\n:\ndata: a\n\n", data: []string{"", "a"}},
		"without its end":   {stream: "data: a\n\ndata: b\n", data: []string{"a"}, raw: "data: a\n\n"},
		"nothing":           {stream: ""},
		"empty data":        {stream: "id: 1\ndata:\n\ndata: a\n\n", data: []string{"", "a"}},
		"longer than lines": {stream: "data: " + strings.Repeat("x", 100_000) + "\n\n", data: []string{strings.Repeat("x", 100_000)}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			var data []string
			var raw bytes.Buffer
			err := sessions.ReadEvents(strings.NewReader(tt.stream), func(e sessions.Event) error {
				data = append(data, string(e.Data))
				raw.Write(e.Raw)
				return nil
			})
			if diff := cmp.Diff(tt.data, data); err != nil || diff != "" {
				t.Errorf("ReadEvents = %v, -want +got:\n%s", err, diff)
			}
			if want := tt.raw; raw.String() != tt.stream && (want == "" || raw.String() != want) {
				t.Errorf("the bytes were not kept: %.200q", raw.String())
			}
		})
	}
}

func TestReadEventsIsBounded(t *testing.T) {
	t.Parallel()
	endless := strings.NewReader("data: " + strings.Repeat("x", 9<<20))
	if err := sessions.ReadEvents(endless, func(sessions.Event) error { return nil }); err == nil {
		t.Error("an event without bounds is read")
	}
}

// FuzzAppendEvent: whatever JSON is sent arrives as it was, but for the line ends in
// it, which mean nothing there.
func FuzzAppendEvent(f *testing.F) {
	f.Add("{\"a\":\n1}")
	f.Add("[1,\r\n2]\r\n")
	f.Add(`"\n"`)
	f.Fuzz(func(t *testing.T, message string) {
		var got []string
		err := sessions.ReadEvents(bytes.NewReader(sessions.AppendEvent(nil, "message", []byte(message))), func(e sessions.Event) error {
			got = append(got, string(e.Data))
			return nil
		})
		if err != nil || len(got) != 1 || got[0] != strings.ReplaceAll(message, "\r", "\n") {
			t.Errorf("%q arrives as %q, %v", message, got, err)
		}
		if json.Valid([]byte(message)) && !json.Valid([]byte(got[0])) {
			t.Errorf("%q is no JSON any more: %q", message, got)
		}
	})
}

func TestIsEventStream(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{"text/event-stream": true, "text/event-stream; charset=utf-8": true, "application/json": false, "": false} {
		if got := sessions.IsEventStream(&http.Response{Header: http.Header{"Content-Type": {kind}}}); got != want {
			t.Errorf("IsEventStream(%q) = %v", kind, got)
		}
	}
}
