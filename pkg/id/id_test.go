package id_test

import (
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
)

func TestValid(t *testing.T) {
	t.Parallel()
	good := id.App.New()
	tests := map[string]struct {
		text string
		want bool
	}{
		"fresh":             {good, true},
		"another kind's":    {id.User.New(), false},
		"no prefix":         {strings.TrimPrefix(good, "app_"), false},
		"capital letters":   {strings.ToUpper(good), false},
		"prefix twice":      {"app_" + good, false},
		"path in it":        {"app_../../../../../../../../../../etc/passwd", false},
		"empty":             {"", false},
		"trailing newline":  {good + "\n", false},
		"braces around":     {"app_{" + strings.TrimPrefix(good, "app_") + "}", false},
		"secret of the CLI": {"mcpac_sc_61b0f683-cf4c-4f0a-8c38-c9a6533885dd", false},
	}
	for name, tt := range tests {
		if got := id.App.Valid(tt.text); got != tt.want {
			t.Errorf("%s: Valid(%q) = %v, want %v", name, tt.text, got, tt.want)
		}
	}
	if !id.Secret.Valid(id.Secret.New()) {
		t.Error("a fresh secret handle is not valid")
	}
}
