package apps

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// watchPoll finds what another replica has changed.
const watchPoll = 2 * time.Second

// Broadcast wakes all who wait, when something has changed.
type Broadcast struct {
	mu   sync.Mutex
	wake chan struct{}
}

// NewBroadcast returns a Broadcast.
func NewBroadcast() *Broadcast { return &Broadcast{wake: make(chan struct{})} }

// Notify wakes all who wait.
func (b *Broadcast) Notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.wake)
	b.wake = make(chan struct{})
}

// Wait returns a channel that closes at the next Notify.
func (b *Broadcast) Wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake
}

// WatchAddresses streams the table: all of it, then each change.
func (s *Service) WatchAddresses(_ *registryv1.WatchAddressesRequest, stream grpc.ServerStreamingServer[registryv1.WatchAddressesResponse]) error {
	ctx := stream.Context()
	sent := map[string]*registryv1.Address{}
	ticker := time.NewTicker(watchPoll)
	defer ticker.Stop()
	for first := true; ; first = false {
		changed := s.deps.Changed.Wait()
		table, err := s.table(ctx)
		if err != nil {
			return err
		}
		step := difference(sent, table)
		if step.Complete = first; first || len(step.GetUpserts())+len(step.GetDeletedTargetIds()) > 0 {
			if err := stream.Send(step); err != nil {
				return err
			}
		}
		sent = table
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}

func (s *Service) table(ctx context.Context) (map[string]*registryv1.Address, error) {
	rows, err := s.deps.Store.ListAddresses(ctx)
	if err != nil {
		return nil, err
	}
	table := make(map[string]*registryv1.Address, len(rows))
	for _, row := range rows {
		table[row.TargetID] = s.addressProto(row)
	}
	return table, nil
}

func (s *Service) addressProto(p store.Placed) *registryv1.Address {
	return &registryv1.Address{
		TargetId: p.TargetID, AppId: p.AppID, OrgId: p.OrgID, AppName: p.AppName, Host: p.Address.Host,
		Port: int32(p.Address.Port), ServerUrl: s.deps.Places.URL(p.Address), //nolint:gosec // a port
		UnauthenticatedAccess: p.Unauthenticated, UserId: p.UserID,
	}
}

func difference(old, now map[string]*registryv1.Address) *registryv1.WatchAddressesResponse {
	step := &registryv1.WatchAddressesResponse{}
	for target, address := range now {
		if !proto.Equal(old[target], address) {
			step.Upserts = append(step.Upserts, address)
		}
	}
	for target := range old {
		if now[target] == nil {
			step.DeletedTargetIds = append(step.DeletedTargetIds, target)
		}
	}
	return step
}

// ResolveTarget finds the app or configuration behind an id, if the caller may see it.
func (s *Service) ResolveTarget(ctx context.Context, req *registryv1.ResolveTargetRequest) (*registryv1.ResolveTargetResponse, error) {
	org := principal.From(ctx).OrgID
	if org == "" {
		return nil, fault.Unauthenticated.Errorf("an API key is needed")
	}
	target := req.GetTargetId()
	switch {
	case id.AppConfiguration.Valid(target):
		c, err := s.deps.Store.FindConfiguration(ctx, org, target)
		return &registryv1.ResolveTargetResponse{TargetId: target, AppId: c.App.ID, OrgId: org}, err
	case !id.App.Valid(target):
		return nil, fault.NotFound.Errorf("no such app")
	}
	app, err := s.deps.Store.FindApp(ctx, org, target)
	return &registryv1.ResolveTargetResponse{TargetId: target, AppId: app.ID, OrgId: org}, err
}
