package bus

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

// LogsStream is the name of the stream that log batches are stored in.
const LogsStream = logsStream

// LogSubject is where the log lines of a target travel.
func LogSubject(target string) string { return "logs." + target }

// PublishLogs stores a batch on the stream and returns when it is there.
func (b *Bus) PublishLogs(ctx context.Context, batch *busv1.LogBatch) error {
	if err := b.EnsureStreams(ctx); err != nil {
		return err
	}
	payload, err := proto.Marshal(batch)
	if err != nil {
		return fmt.Errorf("marshal log lines: %w", err)
	}
	if _, err := b.stream.Publish(ctx, LogSubject(batch.GetTargetId()), payload); err != nil {
		return fmt.Errorf("store log lines: %w", err)
	}
	return nil
}
