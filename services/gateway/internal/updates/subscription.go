package updates

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

const acknowledged = "notifications/subscriptions/acknowledged"

// subscription listens to an agent of the stateless era, by one stream for all that is
// listened to; with more of it, another stream takes its place.
type subscription struct {
	ear *ear

	mu     sync.Mutex
	stream *open
	fresh  chan struct{} // gets a token when another stream has taken its place
}

// open is a stream.
type open struct {
	stop context.CancelFunc
	said chan []byte   // what comes after the acknowledgement
	over chan struct{} // closed at its end
}

func newSubscription(e *ear) *subscription {
	return &subscription{ear: e, fresh: make(chan struct{}, 1)}
}

func (s *subscription) subscribe(ctx context.Context, all []string, uri string) (bool, error) {
	stream, told, err := s.begin(ctx, all)
	if err != nil {
		return false, err
	}
	if !slices.Contains(told, uri) {
		stream.stop()
		return false, nil
	}
	s.take(stream)
	return true, nil
}

// unsubscribe has nothing to do: what nobody listens to is left out of the next stream.
func (s *subscription) unsubscribe(context.Context, string) {}

func (s *subscription) take(stream *open) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		s.stream.stop()
	}
	s.stream = stream
	select {
	case s.fresh <- struct{}{}:
	default:
	}
}

func (s *subscription) current() *open {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// begin opens a stream and waits until the agent says what it will tell.
func (s *subscription) begin(ctx context.Context, uris []string) (*open, []string, error) {
	route, err := s.ear.hub.table.Await(ctx, s.ear.target, s.ear.pick)
	if err != nil {
		return nil, nil, err
	}
	req, refusal := modern.Lift(jsonrpc.Message{
		Version: "2.0", ID: json.RawMessage(`"agentcloud-updates"`), Method: modern.Listen,
		Params: jsonrpc.Encode(map[string]any{"notifications": map[string]any{"resourceSubscriptions": uris}}),
	}, modern.Hello{})
	if refusal != nil {
		return nil, nil, refusal
	}
	until, stop := context.WithCancel(s.ear.ctx)
	o := &open{stop: stop, said: make(chan []byte, MaxURIs), over: make(chan struct{})}
	acks, refused := make(chan []byte, 1), make(chan *modern.Refusal, 1)
	s.ear.hub.working.Go(func() {
		defer close(o.over)
		defer stop()
		refused <- s.ear.hub.stream(until, route, req, func(raw []byte) { o.put(until, acks, raw) })
	})
	select {
	case ack := <-acks:
		return o, toldOf(ack), nil
	case refusal := <-refused:
		stop()
		if refusal == nil || refusal.Status >= 500 || refusal.NotStarted {
			return nil, nil, errAway
		}
		return o, nil, nil // it takes no subscriptions
	case <-ctx.Done():
		stop()
		return nil, nil, errAway
	}
}

// put sorts what the agent says: the acknowledgement comes first.
func (o *open) put(until context.Context, acks chan<- []byte, raw []byte) {
	if m, err := jsonrpc.Parse(raw); err == nil && m.Method == acknowledged {
		select {
		case acks <- m.Params:
		default:
		}
		return
	}
	select {
	case o.said <- raw:
	case <-until.Done():
	}
}

func toldOf(ack []byte) []string {
	var about struct {
		Notifications struct {
			URIs []string `json:"resourceSubscriptions"`
		} `json:"notifications"`
	}
	_ = json.Unmarshal(ack, &about) // it tells of nothing then
	return about.Notifications.URIs
}

var errOver = errors.New("the stream has ended")

// hear gives what the stream says, and those that take its place, until one ends.
func (s *subscription) hear(ctx context.Context, opened func(), each func(raw []byte)) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	for s.current() == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.fresh:
		}
	}
	stream := s.current()
	opened()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case raw := <-stream.said:
			each(raw)
		case <-stream.over:
			stream.rest(each)
			if s.current() == stream {
				return errOver
			}
			stream = s.current()
		}
	}
}

// rest gives what was said before the end.
func (o *open) rest(each func(raw []byte)) {
	for {
		select {
		case raw := <-o.said:
			each(raw)
		default:
			return
		}
	}
}

// renew opens the stream again after its end.
func (s *subscription) renew(ctx context.Context) error {
	s.ear.changing.Lock()
	defer s.ear.changing.Unlock()
	wanted := s.ear.wanted()
	if len(wanted) == 0 || s.current() != nil && !ended(s.current()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	stream, _, err := s.begin(ctx, wanted)
	if err != nil {
		return err
	}
	s.take(stream)
	return nil
}

func ended(o *open) bool {
	select {
	case <-o.over:
		return true
	default:
		return false
	}
}

// leave ends the stream.
func (s *subscription) leave(context.Context) {
	if stream := s.current(); stream != nil {
		stream.stop()
	}
}
