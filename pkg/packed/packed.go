// Package packed keeps messages small that are seldom read: what an app that sleeps has
// said of itself is mostly JSON schemas, which say much the same again and again.
package packed

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Message is a message in a fraction of its place.
type Message []byte

// writers are kept between uses: each has some hundred kilobytes of its own.
var writers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.BestSpeed) // the level is one of its own
	return w
}}

// Pack packs a message.
func Pack(m proto.Message) (Message, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("pack a message: %w", err)
	}
	w := writers.Get().(*flate.Writer) //nolint:forcetypeassert // nothing else is put there
	defer writers.Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	if _, err := w.Write(raw); err != nil {
		return nil, fmt.Errorf("pack a message: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack a message: %w", err)
	}
	return bytes.Clone(b.Bytes()), nil // the buffer may be twice as large
}

// Unpack writes the message into one that is empty.
func (p Message) Unpack(into proto.Message) error {
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
	if err == nil {
		err = proto.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("unpack a message: %w", err)
	}
	return nil
}
