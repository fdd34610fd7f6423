package sleep

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// answersWithin is how long a gateway may take to say whether an agent may sleep.
	answersWithin = 5 * time.Second
	// askAgain is when to ask anew where there was no answer.
	askAgain = 5 * time.Second
	// leftFor is how long a gateway that has gone may still have calls under way.
	leftFor = 30 * time.Second
	// backlog bounds the questions that wait for a slow gateway.
	backlog = 256
)

// gateways are those that make calls to agents. An agent sleeps when all have agreed.
type gateways struct {
	mu        sync.Mutex
	all       map[*gateway]struct{}
	agreement int64
	// changes counts those that came and went.
	changes int64
	left    time.Time
}

type gateway struct {
	loads     loads
	questions chan *schedulerv1.AttendResponse
	gone      chan struct{}
	mu        sync.Mutex
	open      map[int64]chan *schedulerv1.AttendRequest
}

// newGateways counts agreements on from those of an earlier life of this process, which
// gateways may remember.
func newGateways() *gateways {
	return &gateways{all: map[*gateway]struct{}{}, agreement: time.Now().UnixMicro()}
}

// last is the newest agreement.
func (g *gateways) last() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.agreement
}

// changed counts the gateways that came or went.
func (g *gateways) changed() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changes
}

func (g *gateways) join() *gateway {
	one := &gateway{questions: make(chan *schedulerv1.AttendResponse, backlog), gone: make(chan struct{}), open: map[int64]chan *schedulerv1.AttendRequest{}}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[one] = struct{}{}
	g.changes++
	return one
}

func (g *gateways) leave(one *gateway, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.all, one)
	g.changes++
	g.left = now
	close(one.gone)
}

// verdict is what the gateways say of an agent's sleep.
type verdict struct {
	agreed bool
	// changes is what changed was as they were asked.
	changes int64
	// again is when to ask anew if they did not agree.
	again time.Duration
}

// ask asks all gateways whether they do without a version's server. While none is there,
// or one has just left that may still have calls, none has agreed.
func (g *gateways) ask(ctx context.Context, targetID, versionID string, idle time.Duration, now time.Time) verdict {
	return g.askAll(ctx, &schedulerv1.AttendResponse{TargetId: targetID, VersionId: versionID, Idle: durationpb.New(idle)}, now)
}

// askOne is ask about one of several servers.
func (g *gateways) askOne(ctx context.Context, targetID, versionID, url string, now time.Time) verdict {
	return g.askAll(ctx, &schedulerv1.AttendResponse{TargetId: targetID, VersionId: versionID, ServerUrl: url}, now)
}

func (g *gateways) askAll(ctx context.Context, asked *schedulerv1.AttendResponse, now time.Time) verdict {
	g.mu.Lock()
	g.agreement++
	asked.Agreement = g.agreement
	v := verdict{agreed: len(g.all) > 0 && (g.left.IsZero() || now.Sub(g.left) > leftFor), changes: g.changes, again: askAgain}
	var all []*gateway
	for one := range g.all {
		all = append(all, one)
	}
	g.mu.Unlock()
	if !v.agreed {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	v.again = 0
	for _, one := range all {
		answer := one.ask(ctx, asked)
		v.agreed = v.agreed && answer.GetAgreed()
		if !answer.GetAgreed() {
			v.again = max(v.again, answer.GetAskAgain().AsDuration())
		}
	}
	return v
}

// ask is nil when the gateway does not answer.
func (o *gateway) ask(ctx context.Context, q *schedulerv1.AttendResponse) *schedulerv1.AttendRequest {
	answer := make(chan *schedulerv1.AttendRequest, 1)
	o.mu.Lock()
	o.open[q.GetAgreement()] = answer
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, q.GetAgreement())
	}()
	select {
	case o.questions <- q:
	case <-o.gone:
		return nil
	case <-ctx.Done():
		return nil
	}
	select {
	case a := <-answer:
		return a
	case <-o.gone:
	case <-ctx.Done():
	}
	return nil
}

func (o *gateway) answered(a *schedulerv1.AttendRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if waits := o.open[a.GetAgreement()]; waits != nil {
		waits <- a
		delete(o.open, a.GetAgreement())
	}
}

// Attend lets a gateway be asked.
func (s *Service) Attend(stream grpc.BidiStreamingServer[schedulerv1.AttendRequest, schedulerv1.AttendResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	one := s.gateways.join()
	defer func() { s.gateways.leave(one, s.deps.Now()) }()
	heard := make(chan error, 1)
	go func() {
		for {
			answer, err := stream.Recv()
			if err != nil {
				heard <- err
				return
			}
			if answer.GetAgreement() == 0 {
				one.loads.hear(answer.GetLoads(), s.deps.Now())
				continue
			}
			one.answered(answer)
		}
	}()
	// Its beginning tells the gateway that it is attended.
	if err := stream.Send(&schedulerv1.AttendResponse{}); err != nil {
		return err
	}
	for {
		select {
		case err := <-heard:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-s.deps.Draining:
			return fault.Unavailable.Errorf("the scheduler is stopping; attend again")
		case q := <-one.questions:
			if err := stream.Send(q); err != nil {
				return err
			}
		}
	}
}
