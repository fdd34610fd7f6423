package questions

import (
	"context"
	"errors"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	courierEvery = time.Second
	courierBatch = 50
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
	// maxAttempts is more than a week of longest pauses; a run that long without its
	// namespace is gone.
	maxAttempts = 12_000
	oneDelivery = 10 * time.Second
)

func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // the courier will look anyway
	}
}

// Run carries answers to their runs, those of deadlines too, until ctx ends. A crash between signal and note
// brings an answer twice, which is harmless: names of signals are unique.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(courierEvery)
	defer tick.Stop()
	for {
		if err := errors.Join(s.expireDue(ctx), s.deliverDue(ctx)); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "answers wait for their runs", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

func (s *Service) deliverDue(ctx context.Context) error {
	due, err := s.deps.Store.DueAnswers(ctx, s.deps.Now(), courierBatch)
	if err != nil {
		return err
	}
	for _, q := range due {
		if err := s.settle(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// settle delivers one answer, or says when to try again.
func (s *Service) settle(ctx context.Context, q store.Question) error {
	err := s.deliver(ctx, q)
	switch {
	case err == nil, namespaces.IsNotFound(err), q.Attempts >= maxAttempts:
		return s.deps.Store.FinishQuestion(ctx, q.ID)
	case ctx.Err() != nil:
		return nil //nolint:nilerr // the end of the room; the question is still due at its next start
	}
	s.deps.Log.WarnContext(ctx, "an answer will be brought later", "question", q.ID, "run", q.RunID, "attempts", q.Attempts, "error", err)
	return s.deps.Store.PostponeAnswer(ctx, q.ID, s.deps.Now().Add(pause(q.Attempts)))
}

// deliver signals the run. An asker that waits on its call fetches the answer itself.
func (s *Service) deliver(ctx context.Context, q store.Question) error {
	if q.SignalName == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, oneDelivery)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, q.OrgID)
	if err != nil {
		return err
	}
	payload := converter.NewRawValue(&commonpb.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: []byte(q.AnswerJSON),
	})
	defer s.deps.Bell.Hold(ctx, q.TargetID)()
	err = c.SignalWorkflow(ctx, q.WorkflowID, q.RunID, q.SignalName, payload)
	if namespaces.IsNotFound(err) { // it may have continued as a new run
		err = c.SignalWorkflow(ctx, q.WorkflowID, "", q.SignalName, payload)
	}
	s.deps.Bell.Stirred(q.TargetID)
	return err
}

func pause(attempts int64) time.Duration {
	return min(firstPause<<min(attempts, 10), longestPause)
}
