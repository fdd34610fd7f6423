package wrangler

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// form reads the parts of an upload, and knows the end of it from a body that breaks
// off where a part would begin: package multipart calls both io.EOF.
type form struct {
	parts *multipart.Reader
	tail  *tail
	end   []byte
}

func newForm(r *http.Request, from io.Reader) (*form, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, fault.Invalid.Errorf("an upload is multipart/form-data")
	}
	return readForm(from, params["boundary"]), nil
}

func readForm(from io.Reader, boundary string) *form {
	t := &tail{from: from}
	return &form{parts: multipart.NewReader(t, boundary), tail: t, end: []byte("--" + boundary + "--")}
}

// errEnd says that there are no more parts.
var errEnd = errors.New("no more parts")

// next is the next part, or errEnd after the last.
func (f *form) next() (*multipart.Part, error) {
	part, err := f.parts.NextRawPart()
	switch {
	case err == nil:
		return part, nil
	case errors.Is(err, io.EOF) && bytes.Contains(f.tail.last, f.end):
		return nil, errEnd
	}
	return nil, fault.Invalid.Wrap(err, "the upload ended early or is damaged")
}

// tailBytes is more than package multipart reads ahead of the part it is at.
const tailBytes = 16 << 10

// tail remembers the last bytes that were read.
type tail struct {
	from io.Reader
	last []byte
}

// Read reads on.
func (t *tail) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.last = append(t.last, p[:n]...)
	if over := len(t.last) - tailBytes; over > tailBytes {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return n, err
}
