package rest

import (
	"errors"
	"io"
	"strings"
	"testing"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want string // part of the error; empty: it is read
	}{
		"camel case":        {`{"nameFilter":"x"}`, ""},
		"snake case":        {`{"name_filter":"x"}`, ""},
		"an unknown field":  {`{"nameFilter":"x","more":{"a":1}}`, ""},
		"another type":      {`{"nameFilter":271828}`, "(line 1:15)"},
		"no JSON":           {"{", "no JSON"},
		"a list":            {"[]", "no JSON"},
		"nothing":           {"", io.EOF.Error()},
		"a wrong character": {"{\"nameFilter\":\"\xff271828\"}", "no JSON"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var req registryv1.ListAppsRequest
			err := newMarshaler().NewDecoder(strings.NewReader(tt.body)).Decode(&req)
			if tt.want == "" {
				if err != nil || req.GetNameFilter() != "x" {
					t.Errorf("Decode(%s) = %v, %v", tt.body, &req, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "271828") || errors.Is(err, io.EOF) != (tt.body == "") {
				t.Errorf("Decode(%s) = %v, want %q and not the value", tt.body, err, tt.want)
			}
		})
	}
}
