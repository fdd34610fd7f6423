package sessions

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"sync"
)

const (
	maxEvent = 8 << 20
	// callBuffer is for answers to calls, and quietBuffer for streams that are open for
	// long and say little.
	callBuffer  = 32 << 10
	quietBuffer = 4 << 10
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
	return ReadLong(body, nil, handle)
}

// longEvent is from which size on an event is told of before it is whole.
const longEvent = 64 << 10

// ReadLong is ReadEvents with partly being told what there is of a long event, each time
// there is more of it.
func ReadLong(body io.Reader, partly func(raw []byte), handle func(Event) error) error {
	lines := buffers.Get().(*bufio.Reader)
	lines.Reset(body)
	defer func() {
		lines.Reset(nil)
		buffers.Put(lines)
	}()
	return readEventsBy(lines, partly, handle)
}

var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, callBuffer) }}

// ReadQuiet is ReadEvents for a stream that is open for long.
func ReadQuiet(body io.Reader, handle func(Event) error) error {
	return readEventsBy(bufio.NewReaderSize(body, quietBuffer), nil, handle)
}

func readEventsBy(lines *bufio.Reader, partly func(raw []byte), handle func(Event) error) error {
	var raw []byte
	for {
		begin := len(raw)
		var err error
		if raw, err = appendLine(raw, lines, partly); err != nil {
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
func appendLine(raw []byte, r *bufio.Reader, partly func(raw []byte)) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(raw)+len(part) > max(cap(raw), longEvent) {
			raw = slices.Grow(raw, 3*len(raw)) // long ones tend to be very long
		}
		raw = append(raw, part...)
		if len(raw) > maxEvent {
			return nil, fmt.Errorf("an event has more than %d bytes", maxEvent)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return raw, err
		}
		if partly != nil && len(raw) > longEvent {
			partly(raw)
		}
	}
}

// DataAt is where the data begins of an event that has one line of it so far; negative
// when it cannot be passed on as it is.
func DataAt(raw []byte) int {
	for at := 0; ; {
		line := raw[at:]
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			value = bytes.TrimPrefix(value, []byte(" "))
			if lineEnd(value) >= 0 {
				return -1
			}
			return len(raw) - len(value)
		}
		end := lineEnd(line)
		if end < 0 {
			return -1
		}
		at += end + 1
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
	b = AppendHead(b, name)
	for {
		end := lineEnd(data)
		if end < 0 {
			b = append(b, data...)
			return append(b, '\n', '\n')
		}
		b = append(append(b, data[:end]...), "\ndata: "...)
		data = data[end+1:]
	}
}

// AppendHead appends what comes before the data of an event that is one line.
func AppendHead(b []byte, name string) []byte {
	return append(append(append(b, "event: "...), name...), "\ndata: "...)
}

// OneLine says whether data can be an event's without being changed.
func OneLine(data []byte) bool { return lineEnd(data) < 0 }

// lineEnd is where the first line ends; negative when there is one alone.
func lineEnd(data []byte) int {
	feed := bytes.IndexByte(data, '\n')
	if feed >= 0 {
		data = data[:feed]
	}
	if back := bytes.IndexByte(data, '\r'); back >= 0 {
		return back
	}
	return feed
}
