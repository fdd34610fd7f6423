package stdiomux

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
)

// keptEnd is how much of the end of a line that is too long is looked at.
const keptEnd = 512

// lines reads lines of at most max bytes.
type lines struct {
	reader *bufio.Reader
	max    int
}

// firstRead is what is read at once; lines may be longer.
const firstRead = 64 << 10

func newLines(r io.Reader, maximum int) *lines {
	return &lines{reader: bufio.NewReaderSize(r, firstRead), max: maximum}
}

// long is a line beyond the bound: its beginning and its end.
type long struct{ head, tail []byte }

func (l *long) Error() string { return "the message is too long" }

// next reads a line. It fails with *long for one beyond the bound, after which it can
// go on. The line is the caller's.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.reader.ReadSlice('\n')
		if len(line)+len(part) > l.max+1 {
			return nil, l.skip(append(line, part...), err)
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && len(bytes.TrimSpace(line)) > 0 && errors.Is(err, io.EOF):
			return clean(line), nil
		case err != nil:
			return nil, err
		default:
			return clean(line), nil
		}
	}
}

func (l *lines) skip(line []byte, err error) error {
	found := &long{head: bytes.Clone(line[:min(len(line), keptEnd)]), tail: last(line)}
	for errors.Is(err, bufio.ErrBufferFull) {
		var part []byte
		part, err = l.reader.ReadSlice('\n')
		found.tail = last(append(found.tail, part...))
	}
	if err != nil {
		return err
	}
	return found
}

func last(line []byte) []byte { return bytes.Clone(line[max(0, len(line)-keptEnd):]) }

// endID is how an SDK writes an id last: before the brace that ends the message.
var endID = regexp.MustCompile(`"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$`)

// id is whose answer the line was; nil when that cannot be seen.
func (l *long) id() json.RawMessage {
	decoder := json.NewDecoder(bytes.NewReader(l.head))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for {
		name, err := decoder.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			break
		}
		if name == "id" && validID(value) {
			return value
		}
	}
	if found := endID.FindSubmatch(l.tail); found != nil {
		return found[1]
	}
	return nil
}
