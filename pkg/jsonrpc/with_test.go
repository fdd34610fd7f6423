package jsonrpc_test

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

func TestWith(t *testing.T) {
	t.Parallel()
	for desc, tt := range map[string]struct {
		object string
		path   []string
		want   string
	}{
		"a member":               {`{"a":1,"b":{"c": "<&>"}}`, []string{"a"}, `{"a":7,"b":{"c":"<&>"}}`},
		"one that was not there": {`{}`, []string{"a"}, `{"a":7}`},
		"deeper":                 {`{"_meta":{"progressToken":1,"x":[1.50]},"z":null}`, []string{"_meta", "progressToken"}, `{"_meta":{"progressToken":7,"x":[1.50]},"z":null}`},
		"no object":              {`[1]`, []string{"a"}, `[1]`},
		"nothing":                {`null`, []string{"a"}, `null`},
	} {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			if got := string(jsonrpc.With(raw(tt.object), raw("7"), tt.path...)); got != tt.want {
				t.Errorf("With(%s, 7, %v) = %s, want %s", tt.object, tt.path, got, tt.want)
			}
		})
	}
}
