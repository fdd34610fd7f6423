package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/text"
)

func TestName(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, want string
		kind       fault.Kind // zero: it is taken
	}{
		"plain":         {text: "finder", want: "finder"},
		"space around":  {text: " finder\n", want: "finder"},
		"letters count": {text: "ééééé", want: "ééééé"},
		"blank":         {text: " \t", kind: fault.Invalid},
		"too long":      {text: "abcdef", kind: fault.Invalid},
		"a NUL":         {text: "a\x00b", kind: fault.Invalid},
		"a line break":  {text: "a\nb", kind: fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			most := 5
			if tt.want == "finder" {
				most = 6
			}
			got, err := text.Name("a name", tt.text, most)
			if fault.KindOf(err) != tt.kind || err == nil && got != tt.want {
				t.Errorf("Name(%q, %d) = %q, %v, want %q, kind %v", tt.text, most, got, err, tt.want, tt.kind)
			}
		})
	}
}

func TestKept(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"short":             {"ok\n", "ok\n"},
		"a NUL":             {"a\x00b", "a\uFFFDb"},
		"no UTF-8":          {"a\xffb", "a\uFFFDb"},
		"too long":          {strings.Repeat("x", 20), strings.Repeat("x", 10) + " …"},
		"cut inside a rune": {strings.Repeat("x", 9) + "éé", strings.Repeat("x", 9) + " …"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := text.Kept(tt.text, 10); got != tt.want || !utf8.ValidString(got) {
				t.Errorf("Kept(%q, 10) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
