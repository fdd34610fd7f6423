package sessions

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// EventID names an event of a session (MCP 2025-11-25, "Resumability and Redelivery"):
// the process that wrote it, its stream there, and its place in the stream. Place zero is
// before the first event.
type EventID struct {
	Epoch  int64
	Stream int64
	Place  int64
}

// String is the id as clients see it.
func (id EventID) String() string {
	return strconv.FormatInt(id.Epoch, 36) + "." + strconv.FormatInt(id.Stream, 36) + "." + strconv.FormatInt(id.Place, 36)
}

// maxEventID bounds what is looked at of a Last-Event-ID.
const maxEventID = 64

// ParseEventID reads a Last-Event-ID.
func ParseEventID(text string) (id EventID, err error) {
	parts := strings.Split(text, ".")
	if len(text) > maxEventID || len(parts) != 3 { //nolint:mnd // as String writes them
		return id, fmt.Errorf("%.64q is no id of an event", text)
	}
	for i, into := range []*int64{&id.Epoch, &id.Stream, &id.Place} {
		if *into, err = strconv.ParseInt(parts[i], 36, 64); err != nil || *into < 0 {
			return EventID{}, fmt.Errorf("%.64q is no id of an event", text)
		}
	}
	return id, nil
}

// newEpoch tells this process's events from those of others; later processes have
// larger ones, as far as clocks agree.
func newEpoch(now time.Time) int64 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return now.UnixMilli()<<16 | int64(binary.BigEndian.Uint16(b[:]))
}
