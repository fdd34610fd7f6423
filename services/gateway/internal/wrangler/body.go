package wrangler

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// idleLimit is how long an uploader may send nothing.
const idleLimit = time.Minute

// body is the body of a request. It remembers whether the connection failed, which
// is no fault of the files, and gives up on an uploader that sends nothing more.
type body struct {
	from    io.Reader
	control *http.ResponseController
	broken  error
}

func newBody(w http.ResponseWriter, r *http.Request) *body {
	return &body{from: r.Body, control: http.NewResponseController(w)}
}

// Read reads on. Deadlines that a connection cannot have are ignored.
func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(idleLimit))
	n, err := b.from.Read(p)
	if err == nil {
		return n, nil
	}
	// What is left of the deadline would end the request's context.
	_ = b.control.SetReadDeadline(time.Time{})
	if !errors.Is(err, io.EOF) {
		b.broken = err
	}
	return n, err
}

// drain reads what is left of a refused upload, at most so much, so that the
// uploader gets its answer rather than a broken connection.
func (b *body) drain(most int64) { _, _ = io.CopyN(io.Discard, b, most) }
