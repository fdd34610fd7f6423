package edgetest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Rooms are the neighbours on one socket.
type Rooms struct {
	Apps        *Apps
	Deployments *Deployments
	Runs        *Runs
	Calls       *Calls
	Sleep       *Sleep
	Limits      *Limits
	Outcomes    *Outcomes
	Conn        *grpc.ClientConn
}

// NewRooms serves empty neighbours, and what else register says, until the test ends.
func NewRooms(t testing.TB, register ...func(grpc.ServiceRegistrar)) *Rooms {
	t.Helper()
	rooms := &Rooms{Apps: NewApps(), Deployments: NewDeployments(), Runs: NewRuns(), Calls: NewCalls(), Sleep: NewSleep(), Limits: NewLimits(), Outcomes: NewOutcomes()}
	rooms.Conn = grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		registryv1.RegisterAppsServiceServer(r, rooms.Apps)
		registryv1.RegisterLimitsServiceServer(r, rooms.Limits)
		schedulerv1.RegisterDeploymentsServiceServer(r, rooms.Deployments)
		schedulerv1.RegisterRunsServiceServer(r, rooms.Runs)
		schedulerv1.RegisterCallsServiceServer(r, rooms.Calls)
		schedulerv1.RegisterSleepServiceServer(r, rooms.Sleep)
		schedulerv1.RegisterRolloutOutcomesServiceServer(r, rooms.Outcomes)
		for _, more := range register {
			more(r)
		}
	})
	return rooms
}

// Until waits for a condition; what says which.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Background runs something until the test ends, and waits for it.
func Background(t testing.TB, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("background work ended with %v", err)
		}
	})
}
