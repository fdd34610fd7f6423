package scheduler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
)

func TestWeightsOfOrganisations(t *testing.T) {
	t.Parallel()
	org := id.Org.New()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("tools:\n  weights:\n    "+org+": 2.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		sources config.Sources
		want    float64
		says    string // of an error
	}{
		"a file":            {sources: config.Sources{File: file}, want: 2.5},
		"a flag":            {sources: config.Sources{Set: []string{"tools.weights=" + org + "=3"}}, want: 3},
		"no organisation":   {sources: config.Sources{Set: []string{"tools.weights=acme=3"}}, says: "tools.weights has acme=3"},
		"no weight":         {sources: config.Sources{Set: []string{"tools.weights=" + org + "=0"}}, says: "a number above 0"},
		"nothing at a time": {sources: config.Sources{Set: []string{"tools.at_once=0"}}, says: "tools.at_once is 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Defaults()
			err := config.Load(&cfg, test.sources)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Load() = %v, want %q", err, test.says)
				}
				return
			}
			if err != nil || cfg.Tools.Weights[org] != test.want {
				t.Errorf("Load() = %v, weights %v", err, cfg.Tools.Weights)
			}
		})
	}
}
