package callbacks_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/callbacks"
)

// slow is a scheduler whose answers are held back.
type slow struct {
	schedulerv1.RunsServiceClient
	asked sync.WaitGroup
	free  chan struct{}
}

func (s *slow) ListQuestions(context.Context, *schedulerv1.ListQuestionsRequest, ...grpc.CallOption) (*schedulerv1.ListQuestionsResponse, error) {
	s.asked.Done()
	<-s.free
	return &schedulerv1.ListQuestionsResponse{}, nil
}

// What is learnt after a question does not wait for whom it is offered to.
func TestOffersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	const events = 20
	s := &slow{free: make(chan struct{})}
	s.asked.Add(events)
	q := callbacks.NewQuestions(callbacks.Deps{Log: slog.New(slog.DiscardHandler), Runs: s})
	all := make(chan struct{})
	go func() {
		for range events {
			q.Asked(t.Context(), &schedulerv1.QuestionAsked{TargetId: "app_1", RunId: "run", OrgId: "org_1"})
		}
		s.asked.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(10 * time.Second):
		t.Error("a question waits for the one before it")
	}
	close(s.free)
}
