// Package text checks what people write before it is kept: how long it is, and that
// it has no characters which lists and databases do not bear.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Line fails unless text fits on one line of at most so many characters. What names
// it in the sentence.
func Line(what, text string, most int) error {
	switch {
	case utf8.RuneCountInString(text) > most:
		return fault.Invalid.Errorf("%s may have at most %d characters", what, most)
	case strings.IndexFunc(text, unicode.IsControl) >= 0:
		return fault.Invalid.Errorf("%s may not have control characters", what)
	}
	return nil
}

// Name is text without the space around it. It fails when nothing is left, or Line does.
func Name(what, text string, most int) (string, error) {
	name := strings.TrimSpace(text)
	if name == "" {
		return "", fault.Invalid.Errorf("%s may not be empty", what)
	}
	return name, Line(what, name, most)
}

// Kept is a text of some program's, such as the output of a build, fit to be kept:
// its first bytes, without what a database refuses.
func Kept(text string, most int) string {
	const mark = "\uFFFD"
	text = strings.ReplaceAll(strings.ToValidUTF8(text, mark), "\x00", mark)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}
