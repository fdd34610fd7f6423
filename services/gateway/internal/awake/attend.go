package awake

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	reconnect = 500 * time.Millisecond
	// tellEvery is how often the scheduler is told how much goes on.
	tellEvery = time.Second
)

// Run answers the scheduler, and tells it how much goes on, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := k.attend(ctx); err != nil && ctx.Err() == nil {
			k.deps.Log.InfoContext(ctx, "no agent falls asleep until the scheduler is back", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
	return nil
}

func (k *Keeper) attend(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := k.deps.Scheduler.Attend(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&schedulerv1.AttendRequest{}); err != nil {
		return err
	}
	answers, over := make(chan *schedulerv1.AttendRequest), make(chan error, 1)
	go func() { over <- k.hear(stream, answers) }()
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for told := false; ; {
		var word *schedulerv1.AttendRequest
		select {
		case err := <-over:
			return err
		case word = <-answers:
		case <-ticker.C:
			word = &schedulerv1.AttendRequest{Loads: k.loads()}
			if len(word.GetLoads()) == 0 && !told {
				continue
			}
			told = len(word.GetLoads()) > 0
		}
		if err := stream.Send(word); err != nil {
			return err
		}
	}
}

// hear answers questions until the stream ends.
func (k *Keeper) hear(stream schedulerv1.SleepService_AttendClient, answers chan<- *schedulerv1.AttendRequest) error {
	for {
		question, err := stream.Recv()
		if err != nil {
			return err
		}
		if question.GetAgreement() == 0 {
			continue // it only begins
		}
		k.forget()
		agreed, again := k.agree(question)
		select {
		case answers <- &schedulerv1.AttendRequest{Agreement: question.GetAgreement(), Agreed: agreed, AskAgain: durationpb.New(again)}:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
