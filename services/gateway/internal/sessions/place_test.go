package sessions_test

import (
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

func TestEventNamesItsPlace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		event string
		id    string
	}{
		"a message":            {"id: 7_1\r\nevent: message\r\ndata: {\"id: 9\":1}\r\n\r\n", "7_1"},
		"a primer":             {"id: 7\nretry: 250\ndata: \n\n", "7"},
		"the id last":          {"data: {}\nid:7\n\n", "7"},
		"none":                 {"data: id: 7\n\n", ""},
		"a comment":            {": id: 7\n\n", ""},
		"an id of two letters": {"id:  7\n\n", " 7"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := sessions.ReadEvents(strings.NewReader(test.event), func(e sessions.Event) error {
				if e.ID() != test.id {
					t.Errorf("ID() = %q, want %q", e.ID(), test.id)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
