package framing

import "bytes"

const (
	// lineKept is as much of a line as has to be known, where it comes in parts.
	lineKept = 64
	// sizeLine bounds the line with a chunk's size, and sizeDigits the size.
	sizeLine   = 256
	sizeDigits = 15
	// lengthDigits bounds a Content-Length.
	lengthDigits = 18
)

// place is where in its requests a connection is.
type place int

const (
	inRequest  place = iota // before or in a request's first line
	inHead                  // in the lines after it
	inBody                  // in a body of known length
	inSize                  // in the line with the size of a chunk
	inData                  // in a chunk
	inDataEnd               // in the line's end after it
	inTrailer               // in the lines after the last chunk
	handedOver              // behind a head that the server refuses itself
	over                    // behind a request in doubt
)

// scanner knows where requests end.
type scanner struct {
	at   place
	left int64 // bytes of the body or chunk
	head head

	// A line that came in parts so far: how it begins, how long it is, its last two bytes.
	begin      [lineKept]byte
	length     int
	prev, last byte
}

// pass is how many of the bytes may pass: fewer than there are when what follows is in
// doubt, in a head or not.
func (s *scanner) pass(p []byte) (n int, ofHead bool) {
	for n < len(p) {
		switch s.at {
		case inBody, inData:
			n += s.skip(len(p) - n)
		case handedOver, over:
			return n, false
		default:
			passed, ok := s.piece(p[n:])
			if n += passed; !ok {
				return n, s.at <= inHead
			}
		}
	}
	return n, false
}

// skip goes on in a body.
func (s *scanner) skip(most int) int {
	n := min(int64(most), s.left)
	if s.left -= n; s.left == 0 {
		if s.at == inBody {
			s.at = inRequest
		} else {
			s.at = inDataEnd
		}
	}
	return int(n)
}

// piece goes on in a line, as far as that is here. Passed stops before what is in doubt.
func (s *scanner) piece(p []byte) (passed int, ok bool) {
	end := bytes.IndexByte(p, '\n')
	part := p
	if end >= 0 {
		part = p[:end]
	}
	back := bytes.IndexByte(part, '\r')
	if back >= 0 && back != len(part)-1 || s.length > 0 && s.last == '\r' && len(part) > 0 {
		return max(back, 0), false // a return within a line
	}
	if end >= 0 && s.length == 0 {
		if back < 0 || !s.line(part[:back], back) {
			return max(back, 0), false
		}
		return end + 1, true
	}
	s.keep(part)
	switch {
	case end < 0:
		return len(p), s.at != inSize || s.length <= sizeLine
	case s.last != '\r':
		return end, false // a feed without a return
	case !s.line(s.begin[:min(s.length-1, lineKept)], s.length-1):
		return max(back, 0), false
	}
	s.length = 0
	return end + 1, true
}

// keep notes a part of a line.
func (s *scanner) keep(part []byte) {
	if s.length < lineKept {
		copy(s.begin[s.length:], part)
	}
	s.length += len(part)
	switch n := len(part); {
	case n == 1:
		s.prev, s.last = s.last, part[0]
	case n > 1:
		s.prev, s.last = part[n-2], part[n-1]
	}
}
