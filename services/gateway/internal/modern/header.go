package modern

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

const (
	codedBegin = "=?base64?"
	codedEnd   = "?="
)

// DecodeHeader reads a header that carries a text of the body: plain visible ASCII, or
// base64 of UTF-8 between "=?base64?" and "?=" (MCP 2026-07-28, SEP-2243).
func DecodeHeader(value string) (text string, ok bool) {
	value = strings.Trim(value, " \t") // RFC 9110, section 5.5
	inner, coded := strings.CutPrefix(value, codedBegin)
	if !coded {
		return value, plain(value)
	}
	if inner, coded = strings.CutSuffix(inner, codedEnd); !coded {
		return value, plain(value)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(inner)
	return string(raw), err == nil && utf8.Valid(raw)
}

// EncodeHeader writes such a header.
func EncodeHeader(text string) string {
	looksCoded := strings.HasPrefix(text, codedBegin) && strings.HasSuffix(text, codedEnd)
	if plain(text) && !looksCoded && text == strings.Trim(text, " \t") {
		return text
	}
	return codedBegin + base64.StdEncoding.EncodeToString([]byte(text)) + codedEnd
}

func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}
