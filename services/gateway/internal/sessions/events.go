package sessions

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

const (
	maxEvent = 8 << 20
	// readBuffer is small: every client that listens has one.
	readBuffer = 4 << 10
)

// Event is one server-sent event (HTML Living Standard, "Server-sent events").
type Event struct {
	// Raw is what came, comments and the empty line at its end included.
	Raw []byte
	// Data is empty when it was a comment.
	Data []byte
}

// IsEventStream says whether an answer is server-sent events.
func IsEventStream(res *http.Response) bool {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}

// ReadEvents gives each event to handle, which may keep it, until the stream ends.
// An event without its end is none.
func ReadEvents(body io.Reader, handle func(Event) error) error {
	lines := bufio.NewReaderSize(body, readBuffer)
	var raw []byte
	for {
		begin := len(raw)
		var err error
		if raw, err = appendLine(raw, lines); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if len(bytes.TrimRight(raw[begin:], "\r\n")) > 0 {
			continue
		}
		if err := handle(Event{Raw: raw, Data: dataOf(raw)}); err != nil {
			return err
		}
		raw = nil
	}
}

// appendLine reads a line with its end, as far as an event may still grow.
func appendLine(raw []byte, r *bufio.Reader) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		if len(raw) > maxEvent {
			return nil, fmt.Errorf("an event has more than %d bytes", maxEvent)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return raw, err
		}
	}
}

// dataOf joins the data lines of an event.
func dataOf(raw []byte) []byte {
	var data []byte
	for first := true; len(raw) > 0; {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		value, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("data:"))
		if !ok {
			continue
		}
		value = bytes.TrimPrefix(value, []byte(" "))
		if first {
			data, first = value[:len(value):len(value)], false
			continue
		}
		data = append(append(data, '\n'), value...)
	}
	return data
}

// AppendEvent appends an event; data of several lines stays one event.
func AppendEvent(b []byte, name string, data []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, '\n')
	for more := true; more; {
		line := data
		end := bytes.IndexAny(data, "\r\n")
		if more = end >= 0; more {
			line, data = data[:end], data[end+1:]
		}
		b = append(b, "data: "...)
		b = append(b, line...)
		b = append(b, '\n')
	}
	return append(b, '\n')
}
