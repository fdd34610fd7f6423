// Package peers carries a request from one replica of the gateway to the one that holds
// what it is about: the stream of a session, a call that waits for its client.
//
// It knows neither. Who may do what is decided where a request came in, and again where
// it is answered.
package peers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const (
	prefix = "gateway.replica."
	// silence is after which time a replica that answers is not there any more; beats is
	// how often it shows within that time that it is.
	silence = 10 * time.Second
	beats   = 10
	// goodbye is how long to wait for what is on its way when this replica ends.
	goodbye = time.Second
	// atOnce is how many requests of others are worked on at once.
	atOnce = 1024
	// envelope is what a message may have beside its body.
	envelope = 4 << 10

	kindHeader = "Kind"
	part       = "part"
	last       = "last"
	busy       = "busy"
	large      = "large"
	away       = "away"
	alive      = "alive"
)

// ErrAway says that there is no such replica, or none any more.
var ErrAway = errors.New("the replica is away")

// errSilent may be a replica that has just died, or NATS: the next try will tell.
var errSilent = fault.Unavailable.Errorf("the other replica does not answer at the moment; try again")

// A Handler answers a request: say gives a part of the answer at once, and what it
// returns is the last. Its ctx ends when nobody waits any more.
type Handler func(ctx context.Context, body []byte, say func(part []byte)) []byte

// Peers is this replica among the others.
type Peers struct {
	// Silence is after which time without a sign a replica is not there. It is the same at
	// all, and changed before Run.
	Silence time.Duration

	conn     *nats.Conn
	name     string
	handlers map[string]Handler
	places   chan struct{}
	working  sync.WaitGroup
}

// New returns a replica with a name of its own.
func New(conn *nats.Conn) *Peers {
	return &Peers{Silence: silence, conn: conn, name: rand.Text(), handlers: map[string]Handler{}, places: make(chan struct{}, atOnce)}
}

// Name is by which the others reach this replica while it runs.
func (p *Peers) Name() string { return p.name }

// Handle says who answers requests on a topic. It is called before Run.
func (p *Peers) Handle(topic string, h Handler) { p.handlers[topic] = h }

// Run answers requests until ctx ends, and waits for those that are worked on.
func (p *Peers) Run(ctx context.Context) error {
	defer p.working.Wait()
	requests := make(chan *nats.Msg, atOnce)
	for topic := range p.handlers {
		sub, err := p.conn.ChanSubscribe(prefix+p.name+"."+topic, requests)
		if err != nil {
			return fmt.Errorf("listen to other replicas: %w", err)
		}
		defer p.leave(sub, requests)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-requests:
			p.take(ctx, m)
		}
	}
}

// leave takes no more requests, and says so to those that were on their way.
func (p *Peers) leave(sub *nats.Subscription, requests <-chan *nats.Msg) {
	_ = sub.Drain() // the connection may be gone first
	_ = p.conn.FlushTimeout(goodbye)
	for {
		select {
		case m := <-requests:
			p.say(m.Reply, away, nil)
		default:
			return
		}
	}
}

// take works on a request, unless there are too many.
func (p *Peers) take(ctx context.Context, m *nats.Msg) {
	h := p.handlers[strings.TrimPrefix(m.Subject, prefix+p.name+".")]
	select {
	case p.places <- struct{}{}:
	default:
		p.say(m.Reply, busy, nil)
		return
	}
	p.working.Go(func() {
		defer func() { <-p.places }()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer p.live(m.Reply, cancel)()
		answer := h(ctx, m.Data, func(raw []byte) { p.say(m.Reply, part, raw) })
		if len(answer) > p.Room() {
			p.say(m.Reply, large, nil)
			return
		}
		p.say(m.Reply, last, answer)
	})
}

// live shows signs of life to who waits, and calls gone when nobody does.
func (p *Peers) live(to string, gone func()) (stop func()) {
	lost := nats.NewInbox()
	sub, err := p.conn.Subscribe(lost, func(m *nats.Msg) {
		if nobody(m) {
			gone()
		}
	})
	ticker, over := time.NewTicker(p.Silence/beats), make(chan struct{})
	p.working.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				sign := nats.NewMsg(to)
				sign.Reply = lost // where the server says that nobody listens
				sign.Header.Set(kindHeader, alive)
				_ = p.conn.PublishMsg(sign) // the other side notices what is missing
			}
		}
	})
	return func() {
		ticker.Stop()
		close(over)
		if err == nil {
			_ = sub.Unsubscribe()
		}
	}
}

// nobody says whether a message is the server's word that a subject has no listener.
func nobody(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

func (p *Peers) say(to, kind string, data []byte) {
	m := nats.NewMsg(to)
	m.Header.Set(kindHeader, kind)
	m.Data = data
	_ = p.conn.PublishMsg(m) // the other side notices what is missing
}

// Room is how many bytes a request or a part of an answer may have.
func (p *Peers) Room() int { return int(p.conn.MaxPayload()) - envelope }

// Ask gives a request to a replica and waits for the answer: its parts go to each, and
// the last is returned. It fails with ErrAway when that replica is not there, and with
// fault.Unavailable when it fell silent: the request may have been begun.
func (p *Peers) Ask(ctx context.Context, replica, topic string, body []byte, each func(part []byte)) ([]byte, error) {
	if !named(replica) {
		return nil, ErrAway
	}
	if len(body) > p.Room() {
		return nil, fault.TooLarge.Errorf("a message may have at most %d bytes here", p.Room())
	}
	sub, err := p.conn.SubscribeSync(nats.NewInbox())
	if err != nil {
		return nil, errSilent
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone first
	request := nats.NewMsg(prefix + replica + "." + topic)
	request.Reply, request.Data = sub.Subject, body
	if err := p.conn.PublishMsg(request); err != nil {
		return nil, errSilent
	}
	return p.follow(ctx, sub, each)
}

// follow reads an answer to its end.
func (p *Peers) follow(ctx context.Context, sub *nats.Subscription, each func(part []byte)) ([]byte, error) {
	for {
		patience, cancel := context.WithTimeout(ctx, p.Silence)
		m, err := sub.NextMsgWithContext(patience)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, nats.ErrNoResponders), err == nil && nobody(m):
			return nil, ErrAway
		case err != nil:
			return nil, errSilent
		}
		switch m.Header.Get(kindHeader) {
		case part:
			each(m.Data)
		case last:
			return m.Data, nil
		case away:
			return nil, ErrAway
		case busy:
			return nil, fault.Exhausted.Errorf("the replica that holds this has too many requests open; try again")
		case large:
			return nil, fault.TooLarge.Errorf("the answer is too large to be carried between replicas")
		}
	}
}

// named says whether a text can be the name of a replica: it becomes part of a subject.
func named(text string) bool {
	const longest = 64
	if text == "" || len(text) > longest {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
