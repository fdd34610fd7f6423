package edgetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Sleep is the scheduler's half of agents' sleep.
type Sleep struct {
	schedulerv1.UnimplementedSleepServiceServer

	mu        sync.Mutex
	agreement int64
	wakes     int
	onWake    func(ctx context.Context, targetID string) (why string, err error)
	attending []chan asked
	loads     map[int]map[string]*schedulerv1.ServerLoad // what each gateway told last, by URL
	joined    int
}

type asked struct {
	what   *schedulerv1.AttendResponse
	answer chan *schedulerv1.AttendRequest
}

// NewSleep returns one whose agents are awake at once.
func NewSleep() *Sleep {
	return &Sleep{onWake: func(context.Context, string) (string, error) { return "", nil }}
}

// OnWake says what a wake does, and why the agent does not start.
func (s *Sleep) OnWake(do func(ctx context.Context, targetID string) (why string, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onWake = do
}

// Wakes is how often it was asked to wake an agent.
func (s *Sleep) Wakes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes
}

// Wake implements the service.
func (s *Sleep) Wake(ctx context.Context, req *schedulerv1.WakeRequest) (*schedulerv1.WakeResponse, error) {
	s.mu.Lock()
	s.wakes++
	answer, do := &schedulerv1.WakeResponse{Agreement: s.agreement}, s.onWake
	s.mu.Unlock()
	var err error
	answer.Error, err = do(ctx, req.GetTargetId())
	return answer, err
}

// Attending is how many gateways are there.
func (s *Sleep) Attending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attending)
}

// Ask asks every gateway whether an agent may sleep, and tells whether all agreed.
func (s *Sleep) Ask(t testing.TB, targetID, versionID string, idle time.Duration) bool {
	t.Helper()
	Until(t, "a gateway attends", func() bool { return s.Attending() > 0 })
	return s.ask(&schedulerv1.AttendResponse{TargetId: targetID, VersionId: versionID, Idle: durationpb.New(idle)})
}

// AskOne asks every gateway whether one of several servers may end, and tells whether all
// agreed.
func (s *Sleep) AskOne(t testing.TB, targetID, versionID, url string) bool {
	t.Helper()
	Until(t, "a gateway attends", func() bool { return s.Attending() > 0 })
	return s.ask(&schedulerv1.AttendResponse{TargetId: targetID, VersionId: versionID, ServerUrl: url})
}

// Load is how many calls are open at a server, as all gateways told last.
func (s *Sleep) Load(url string) (open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, told := range s.loads {
		open += int(told[url].GetOpen())
	}
	return open
}

func (s *Sleep) ask(what *schedulerv1.AttendResponse) bool {
	s.mu.Lock()
	s.agreement++
	what.Agreement = s.agreement
	all := s.attending
	s.mu.Unlock()
	agreed := true
	for _, one := range all {
		q := asked{what, make(chan *schedulerv1.AttendRequest, 1)}
		one <- q
		a := <-q.answer
		agreed = agreed && a.GetAgreed() && a.GetAgreement() == what.GetAgreement()
	}
	return agreed
}

// Attend implements the service.
func (s *Sleep) Attend(stream grpc.BidiStreamingServer[schedulerv1.AttendRequest, schedulerv1.AttendResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	questions, answers := make(chan asked), make(chan *schedulerv1.AttendRequest)
	s.mu.Lock()
	s.attending = append(s.attending, questions)
	s.joined++
	name := s.joined
	s.mu.Unlock()
	go s.hear(stream, name, answers)
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case q := <-questions:
			if err := stream.Send(q.what); err != nil {
				return err
			}
			select {
			case a := <-answers:
				q.answer <- a
			case <-stream.Context().Done():
				q.answer <- nil
				return nil
			}
		}
	}
}

// hear takes what a gateway says, until it is gone.
func (s *Sleep) hear(stream grpc.BidiStreamingServer[schedulerv1.AttendRequest, schedulerv1.AttendResponse], name int, answers chan<- *schedulerv1.AttendRequest) {
	for {
		word, err := stream.Recv()
		if err != nil {
			return
		}
		if word.GetAgreement() != 0 {
			answers <- word
			continue
		}
		told := map[string]*schedulerv1.ServerLoad{}
		for _, load := range word.GetLoads() {
			told[load.GetServerUrl()] = load
		}
		s.mu.Lock()
		if s.loads == nil {
			s.loads = map[int]map[string]*schedulerv1.ServerLoad{}
		}
		s.loads[name] = told
		s.mu.Unlock()
	}
}
