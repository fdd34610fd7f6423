package edge

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

// hold serves a stream that is open for long and quiet: with the connection alone, where
// HTTP/1.1 lets it be had. The server's buffers and the stack of its handler would be
// most of what an idle client costs. Serve's ctx ends with the client's connection.
func (v visit) hold(w http.ResponseWriter, r *http.Request, serve func(ctx context.Context, to *stream)) {
	if r.ProtoMajor != 1 {
		if to, ok := openStream(w, v.deps.Config.KeepAlive); ok {
			serve(r.Context(), to)
		}
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, noMessage, err)
		return
	}
	ctx, cancel := context.WithCancel(principal.With(context.Background(), v.caller))
	_ = conn.SetDeadline(time.Time{}) // the server's own
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, silence{conn}) // a client says nothing more here
	}()
	go func() {
		defer conn.Close() //nolint:errcheck // the client is gone, or is to go
		defer cancel()
		to := &stream{wire{conn}, v.deps.Config.KeepAlive}
		if to.write(head()) {
			serve(ctx, to)
		}
	}()
}

// wire is a connection as an output.
type wire struct{ net.Conn }

// Flush has nothing to do.
func (wire) Flush() error { return nil }

// silence is a connection's other direction, read with next to no memory.
type silence struct{ net.Conn }

// WriteTo reads until the end.
func (s silence) WriteTo(io.Writer) (int64, error) {
	var b [16]byte
	for {
		if _, err := s.Read(b[:]); err != nil {
			return 0, err
		}
	}
}

// head is the head of a response that is a stream up to the connection's end (RFC 9112,
// section 6.3).
func head() []byte {
	h := http.Header{"Content-Type": {"text/event-stream"}, "Connection": {"close"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	setStreamHeaders(h)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // a buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}
