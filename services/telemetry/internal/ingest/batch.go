package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/store"
)

const (
	maxMessage = 64 << 10
	maxFields  = 64 << 10
	maxID      = 256
	// ahead is how much faster a publisher's clock may be.
	ahead = 10 * time.Minute
)

// batch is what is stored together.
type batch struct {
	age     time.Duration
	lines   []store.Line
	bytes   int64
	last    uint64 // place in the stream
	refused []error
}

func (b *batch) full() bool { return len(b.lines) >= batchLines || b.bytes >= batchBytes }

// add takes a message. One that cannot be read never could be, so it is passed over.
func (b *batch) add(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		b.refused = append(b.refused, err)
		return
	}
	b.last = max(b.last, meta.Sequence.Stream)
	lines, err := read(msg.Subject(), msg.Data(), stamp{seq: meta.Sequence.Stream, at: meta.Timestamp, age: b.age})
	if err != nil {
		b.refused = append(b.refused, err)
		return
	}
	b.lines = append(b.lines, lines...)
	for _, l := range lines {
		b.bytes += l.Bytes()
	}
}

// stamp is what the stream knows of a message; the same at each delivery.
type stamp struct {
	seq uint64
	at  time.Time
	age time.Duration
}

// read decodes a message. The subject, which the bus has checked, says whose lines
// they are; a batch that says otherwise is refused.
func read(subject string, data []byte, s stamp) ([]store.Line, error) {
	var b busv1.LogBatch
	if err := proto.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("unmarshal log batch: %w", err)
	}
	switch {
	case b.GetTargetId() == "" || subject != bus.LogSubject(b.GetTargetId()):
		return nil, fmt.Errorf("a batch for %q came on %q", b.GetTargetId(), subject)
	case b.GetOrgId() == "":
		return nil, errors.New("a batch names no organisation")
	}
	lines := make([]store.Line, 0, len(b.GetLines()))
	for n, l := range b.GetLines() {
		lines = append(lines, toLine(&b, l, n, s))
	}
	return lines, nil
}

func toLine(b *busv1.LogBatch, l *busv1.LogLine, n int, s stamp) store.Line {
	line := store.Line{
		TargetID: b.GetTargetId(), OrgID: b.GetOrgId(), LineID: cut(l.GetLineId(), maxID), Time: believed(l, s),
		Level: l.GetLevel(), Source: l.GetSource(), Logger: cut(l.GetLogger(), maxID), Message: cut(l.GetMessage(), maxMessage),
		VersionID: cut(l.GetVersionId(), maxID), InstanceID: cut(l.GetInstanceId(), maxID), RunID: cut(l.GetRunId(), maxID),
		TraceID: cut(l.GetTraceId(), maxID), FieldsJSON: l.GetFieldsJson(), DroppedBefore: max(0, l.GetDroppedBefore()),
	}
	if line.LineID == "" {
		line.LineID = fmt.Sprintf("%d/%d", s.seq, n)
	}
	if _, known := busv1.LogLevel_name[int32(line.Level)]; !known || line.Level == busv1.LogLevel_LOG_LEVEL_UNSPECIFIED {
		line.Level = busv1.LogLevel_LOG_LEVEL_INFO
	}
	if len(line.FieldsJSON) > maxFields || !json.Valid([]byte(line.FieldsJSON)) {
		line.FieldsJSON = ""
	}
	return line
}

// believed is the line's own time, unless that cannot be: then the stream's.
func believed(l *busv1.LogLine, s stamp) time.Time {
	at := l.GetTime().AsTime()
	if l.GetTime() == nil || at.After(s.at.Add(ahead)) || at.Before(s.at.Add(-s.age)) {
		return s.at
	}
	return at
}

// cut bounds a text and takes out what a database cannot hold.
func cut(text string, limit int) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\ufffd")
	}
	if len(text) <= limit {
		return text
	}
	const mark = " … (cut)"
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}
