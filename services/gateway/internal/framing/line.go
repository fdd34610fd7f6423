package framing

import (
	"bytes"
)

// head is what a head has said so far.
type head struct {
	old     bool // HTTP/1.0, which has no codings
	lengths int  // how many
	length  int64
	codings int // how many
	chunked bool
}

// line judges a line without its end; text is how it begins, and all of it when it is no
// longer than that.
func (s *scanner) line(text []byte, length int) bool {
	folded := length > 0 && (text[0] == ' ' || text[0] == '\t')
	switch s.at {
	case inRequest:
		if length > 0 {
			s.head, s.at = head{old: s.final(text, length) == '0'}, inHead
		}
		return true
	case inHead:
		if length == 0 {
			return s.headEnds()
		}
		return !folded && s.head.field(text, length)
	case inSize:
		return length <= sizeLine && s.size(text)
	case inDataEnd:
		s.at = inSize
		return length == 0
	default: // a trailer
		if length == 0 {
			s.at = inRequest
		}
		return !folded
	}
}

// final is a line's last byte.
func (s *scanner) final(text []byte, length int) byte {
	if length > len(text) {
		return s.prev // before the return
	}
	return text[length-1]
}

var (
	contentLength    = []byte("content-length")
	transferEncoding = []byte("transfer-encoding")
	chunkedCoding    = []byte("chunked")
)

// field notes what a field says of the body's length.
func (h *head) field(text []byte, length int) bool {
	switch text[0] {
	case 'c', 'C', 't', 'T':
	default:
		return true
	}
	name, value, _ := bytes.Cut(text, []byte(":"))
	value = bytes.Trim(value, " \t")
	switch {
	case bytes.EqualFold(name, contentLength):
		n, ok := number(value, 10, lengthDigits)
		h.lengths, h.length = h.lengths+1, n
		return ok && length == len(text) && h.lengths == 1
	case bytes.EqualFold(name, transferEncoding):
		h.codings++
		h.chunked = bytes.EqualFold(value, chunkedCoding)
		return length == len(text) && h.codings == 1
	}
	return true
}

// headEnds tells how long the body is; false when that is in doubt.
func (s *scanner) headEnds() bool {
	h := s.head
	switch {
	case h.codings > 0 && (h.lengths > 0 || h.old):
		return false
	case h.codings > 0 && !h.chunked:
		s.at = handedOver // 501
	case h.codings > 0:
		s.at = inSize
	case h.length > 0:
		s.at, s.left = inBody, h.length
	default:
		s.at = inRequest
	}
	return true
}

// size reads the size of a chunk; extensions after it mean nothing (RFC 9112, section
// 7.1.1).
func (s *scanner) size(text []byte) bool {
	digits, _, _ := bytes.Cut(text, []byte(";"))
	n, ok := number(digits, 16, sizeDigits)
	if s.at, s.left = inData, n; n == 0 {
		s.at = inTrailer
	}
	return ok
}

// number reads digits and nothing else.
func number(digits []byte, base, most int) (int64, bool) {
	if len(digits) == 0 || len(digits) > most {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		d, ok := digit(c)
		if !ok || d >= int64(base) {
			return 0, false
		}
		n = n*int64(base) + d
	}
	return n, true
}

func digit(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10, true //nolint:mnd // hexadecimal
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10, true //nolint:mnd // hexadecimal
	}
	return 0, false
}
