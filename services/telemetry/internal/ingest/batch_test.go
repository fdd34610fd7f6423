package ingest

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/store"
)

var came = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func readOne(t *testing.T, l *busv1.LogLine) store.Line {
	t.Helper()
	data, err := proto.Marshal(&busv1.LogBatch{TargetId: "app_1", OrgId: "org_1", Lines: []*busv1.LogLine{l}})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := read(bus.LogSubject("app_1"), data, stamp{seq: 7, at: came, age: time.Hour})
	if err != nil || len(lines) != 1 {
		t.Fatalf("read() = %d lines, %v; want 1", len(lines), err)
	}
	return lines[0]
}

func TestALineIsMadeToFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxMessage)
	tests := map[string]struct {
		line *busv1.LogLine
		fits func(store.Line) bool
	}{
		"a message that is too long is cut at a letter": {&busv1.LogLine{Message: "x" + long}, func(l store.Line) bool {
			return len(l.Message) <= maxMessage && len(l.Message) > maxMessage-20 && utf8.ValidString(l.Message) && strings.HasSuffix(l.Message, "(cut)")
		}},
		"a message that just fits is kept": {&busv1.LogLine{Message: long[:maxMessage]}, func(l store.Line) bool { return l.Message == long[:maxMessage] }},
		"ids are bounded": {&busv1.LogLine{LineId: long, Logger: long, RunId: long, VersionId: long, InstanceId: long, TraceId: long}, func(l store.Line) bool {
			return max(len(l.LineID), len(l.Logger), len(l.RunID), len(l.VersionID), len(l.InstanceID), len(l.TraceID)) <= maxID
		}},
		"no level is INFO":            {&busv1.LogLine{}, func(l store.Line) bool { return l.Level == busv1.LogLevel_LOG_LEVEL_INFO }},
		"an unknown level is INFO":    {&busv1.LogLine{Level: 99}, func(l store.Line) bool { return l.Level == busv1.LogLevel_LOG_LEVEL_INFO }},
		"a negative level is INFO":    {&busv1.LogLine{Level: -1}, func(l store.Line) bool { return l.Level == busv1.LogLevel_LOG_LEVEL_INFO }},
		"a level is kept":             {&busv1.LogLine{Level: busv1.LogLevel_LOG_LEVEL_ERROR}, func(l store.Line) bool { return l.Level == busv1.LogLevel_LOG_LEVEL_ERROR }},
		"fields that are no JSON go":  {&busv1.LogLine{Message: "m", FieldsJson: "{"}, func(l store.Line) bool { return l.FieldsJSON == "" && l.Message == "m" }},
		"fields that are too long go": {&busv1.LogLine{FieldsJson: `"` + long + `"`}, func(l store.Line) bool { return l.FieldsJSON == "" }},
		"fields are kept":             {&busv1.LogLine{FieldsJson: `{"a":1}`}, func(l store.Line) bool { return l.FieldsJSON == `{"a":1}` }},
		"fewer than none were lost":   {&busv1.LogLine{DroppedBefore: -5}, func(l store.Line) bool { return l.DroppedBefore == 0 }},
		"no id is its place":          {&busv1.LogLine{}, func(l store.Line) bool { return l.LineID == "7/0" }},
		"no time is the stream's":     {&busv1.LogLine{}, func(l store.Line) bool { return l.Time.Equal(came) }},
		"its own time is believed":    {&busv1.LogLine{Time: timestamppb.New(came.Add(-time.Minute))}, func(l store.Line) bool { return l.Time.Equal(came.Add(-time.Minute)) }},
		"a time far ahead is not":     {&busv1.LogLine{Time: timestamppb.New(came.Add(time.Hour))}, func(l store.Line) bool { return l.Time.Equal(came) }},
		"a time long ago is not":      {&busv1.LogLine{Time: timestamppb.New(came.Add(-2 * time.Hour))}, func(l store.Line) bool { return l.Time.Equal(came) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := readOne(t, tt.line); !tt.fits(got) {
				t.Errorf("line = %.300v", got)
			}
		})
	}
}

func TestABatchThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*busv1.LogBatch{
		"no target":        {OrgId: "org_1"},
		"another's target": {TargetId: "app_2", OrgId: "org_1"},
		"no organisation":  {TargetId: "app_1"},
	} {
		data, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := read(bus.LogSubject("app_1"), data, stamp{at: came, age: time.Hour}); err == nil {
			t.Errorf("%s: read() = %v, want an error", name, lines)
		}
	}
}

func TestABatchIsBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		b    batch
		want bool
	}{
		"empty":          {batch{}, false},
		"one line short": {batch{lines: make([]store.Line, batchLines-1)}, false},
		"full of lines":  {batch{lines: make([]store.Line, batchLines)}, true},
		"full of bytes":  {batch{lines: make([]store.Line, 1), bytes: batchBytes}, true},
		"one byte short": {batch{lines: make([]store.Line, 1), bytes: batchBytes - 1}, false},
	} {
		if got := tt.b.full(); got != tt.want {
			t.Errorf("%s: full() = %v, want %v", name, got, tt.want)
		}
	}
}
