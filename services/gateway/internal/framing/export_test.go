package framing

import (
	"errors"
	"io"
	"net"
)

// Seen is what was seen of a connection's bytes.
type Seen struct {
	// Passed is how many passed, and Rest what the server reads after them.
	Passed int
	Rest   string
	// At is where requests ended.
	At []int
}

// Ends reads a connection to its end, byte by byte as far as it knows.
func Ends(inner net.Conn) (seen Seen) {
	c := &conn{Conn: tap{inner, &seen}}
	b := make([]byte, 100)
	for {
		n, err := c.Conn.Read(b)
		for i := range n {
			before := c.scan.at
			if passed, ofHead := c.scan.pass(b[i : i+1]); passed == 0 {
				if ofHead {
					seen.Rest = refused
				}
				return seen
			}
			seen.Passed++
			if c.scan.at == inRequest && (before == inBody || before == inTrailer || before == inHead) {
				seen.At = append(seen.At, seen.Passed)
			}
		}
		if errors.Is(err, io.EOF) {
			return seen
		}
	}
}

type tap struct {
	net.Conn
	seen *Seen
}

// NewScan is a scanner of one connection.
func NewScan() func([]byte) int {
	var s scanner
	return func(p []byte) int {
		n, _ := s.pass(p)
		return n
	}
}
