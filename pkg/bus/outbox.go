package bus

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

// Subject is where an event travels, by its message option.
func Subject(event proto.Message) (string, error) {
	options := event.ProtoReflect().Descriptor().Options()
	subject, _ := proto.GetExtension(options, busv1.E_Subject).(string)
	if subject == "" {
		return "", fmt.Errorf("%s has no subject option, so it is no event", event.ProtoReflect().Descriptor().FullName())
	}
	return subject, nil
}

// Put promises event in the caller's transaction: it is sent after the commit, or never.
func Put(ctx context.Context, tx *sqldb.Tx, event proto.Message) error {
	subject, err := Subject(event)
	if err != nil {
		return err
	}
	payload, err := proto.Marshal(event)
	if err != nil {
		return fmt.Errorf("marshal event: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (message_id, subject, payload) VALUES (?, ?, ?)`, id.Event.New(), subject, payload)
	if err != nil {
		return fmt.Errorf("write to outbox: %w", err)
	}
	tx.SignalCommit()
	return nil
}
