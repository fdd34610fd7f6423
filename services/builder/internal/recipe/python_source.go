package recipe

import "strings"

// maskPython blanks comments and the insides of strings, so that a pattern sees
// code alone. Offsets and line numbers stay what they were.
func maskPython(text string) string {
	out := []byte(text)
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '#':
			end := i + lineEnd(text[i:])
			blank(out[i:end])
			i = end
		case c == '"' || c == '\'':
			end := i + stringEnd(text[i:])
			blank(out[i:end])
			i = end
		default:
			i++
		}
	}
	return string(out)
}

func blank(part []byte) {
	for i, c := range part {
		if c != '\n' {
			part[i] = ' '
		}
	}
}

func lineEnd(text string) int {
	if end := strings.IndexByte(text, '\n'); end >= 0 {
		return end
	}
	return len(text)
}

// stringEnd returns where the string that begins text ends. A backslash guards the
// next character, in raw strings too.
func stringEnd(text string) int {
	quote := text[:1]
	triple := strings.HasPrefix(text, strings.Repeat(quote, 3))
	if triple {
		quote = text[:3]
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case text[i] == '\n' && !triple:
			return i // not closed: Python will say so
		}
	}
	return len(text)
}
