package limits

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

// watchPoll finds what another replica has changed while NATS was away, and limits that
// went with their app.
const watchPoll = 2 * time.Second

// partSize is how many limits one message of the stream may have.
const partSize = 1000

// Run learns at once what other replicas change, until ctx ends.
func (s *Service) Run(ctx context.Context, b *bus.Bus) error {
	return b.Listen(ctx, func(proto.Message) { s.deps.Changed.Notify() }, &registryv1.LimitChanged{})
}

// WatchLimits streams the limits of all organisations: all of them, then each change.
func (s *Service) WatchLimits(_ *registryv1.WatchLimitsRequest, stream grpc.ServerStreamingServer[registryv1.WatchLimitsResponse]) error {
	ctx := stream.Context()
	sent := map[string]*registryv1.Limit{}
	ticker := time.NewTicker(watchPoll)
	defer ticker.Stop()
	for first := true; ; first = false {
		changed := s.deps.Changed.Wait()
		now, err := s.all(ctx)
		if err != nil {
			return err
		}
		step := difference(sent, now)
		step.Complete, sent = first, now
		if err := send(stream, step); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}

// send sends a step in parts that a message can hold, and one that says nothing not at all.
func send(stream grpc.ServerStreamingServer[registryv1.WatchLimitsResponse], step *registryv1.WatchLimitsResponse) error {
	for len(step.GetUpserts()) > partSize {
		part := &registryv1.WatchLimitsResponse{Upserts: step.GetUpserts()[:partSize]}
		if err := stream.Send(part); err != nil {
			return err
		}
		step.Upserts = step.GetUpserts()[partSize:]
	}
	if !step.GetComplete() && len(step.GetUpserts())+len(step.GetDeletedLimitIds()) == 0 {
		return nil
	}
	return stream.Send(step)
}

func (s *Service) all(ctx context.Context) (map[string]*registryv1.Limit, error) {
	rows, err := s.deps.Store.AllLimits(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*registryv1.Limit, len(rows))
	for _, row := range rows {
		all[row.ID] = limitProto(row)
	}
	return all, nil
}

func difference(old, now map[string]*registryv1.Limit) *registryv1.WatchLimitsResponse {
	step := &registryv1.WatchLimitsResponse{}
	for id, limit := range now {
		if !proto.Equal(old[id], limit) {
			step.Upserts = append(step.Upserts, limit)
		}
	}
	for id := range old {
		if now[id] == nil {
			step.DeletedLimitIds = append(step.DeletedLimitIds, id)
		}
	}
	return step
}
