// Package framing lets only those HTTP/1.1 requests through to a server whose ends all
// readers see at the same byte (RFC 9112, sections 2.2, 5.2, 6.1, 6.3 and 11.2). Go's own
// server is kinder: it takes lines that end in a line feed alone, heads over two lines,
// and a length beside a coding. A proxy before it may see other requests in those bytes.
//
// It looks at the bytes as they pass and keeps none; what it does not forbid, the server
// judges.
package framing

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// Serve serves requests that come by lis until the server is closed, as its Serve does.
// Connections with a request in doubt get 400 and end.
func Serve(server *http.Server, lis net.Listener) error {
	server.ConnState = release
	return server.Serve(listener{lis})
}

// release lets a connection alone that has become something else: a WebSocket, or a
// stream that its handler writes itself.
func release(c net.Conn, state http.ConnState) {
	if c, ok := c.(*conn); ok && state == http.StateHijacked {
		c.free.Store(true)
	}
}

type listener struct{ net.Listener }

// Accept returns a connection whose requests are looked at.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn is a connection as the server reads it.
type conn struct {
	net.Conn
	free atomic.Bool
	scan scanner
	rest string // what the server gets to read yet before the end
}

// Read reads what may pass. A request in doubt goes on with what every server refuses, so
// that the server's own refusal comes in its turn, after the answers to those before it.
func (c *conn) Read(p []byte) (int, error) {
	if c.scan.at == over {
		if c.rest == "" {
			return 0, io.EOF
		}
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n == 0 || c.free.Load() {
		return n, err
	}
	passed, inHead := c.scan.pass(p[:n])
	if passed == n {
		return n, err
	}
	c.scan.at = over
	if inHead {
		c.rest = refused
	}
	if passed > 0 {
		return passed, nil
	}
	return c.Read(p)
}

// refused is what no part of a head may hold (RFC 9110, section 5.5), and the head's end.
const refused = "\x00\r\n\r\n"

// ReadFrom lets the system copy what is written.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite says that no more is written; the server's refusals arrive by it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
