package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Listen gives each message of the listed types to handle as it is sent, in every
// process that listens, for caches that must forget. What is sent while this process
// is away is missed. It returns nil when ctx ends.
func (b *Bus) Listen(ctx context.Context, handle func(proto.Message), events ...proto.Message) error {
	for _, event := range events {
		subject, err := Subject(event)
		if err != nil {
			return err
		}
		kind := event.ProtoReflect().Type()
		sub, err := b.conn.Subscribe(subject, func(msg *nats.Msg) {
			event := kind.New().Interface()
			if proto.Unmarshal(msg.Data, event) == nil {
				handle(event)
			}
		})
		if err != nil {
			return fmt.Errorf("listen to %s: %w", subject, err)
		}
		defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone first
	}
	<-ctx.Done()
	return nil
}
