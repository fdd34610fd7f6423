package sessions

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const (
	// maxSubscriptions bounds the resources that one client subscribes to, and maxURI each.
	maxSubscriptions = 100
	maxURI           = 2 << 10
	// remindAtOnce is how many subscriptions are repeated at once.
	remindAtOnce = 8
)

// wishes are what a client has said that it wants to hear. They outlive its agent.
type wishes struct {
	// Level of logs.
	Level string `json:"level,omitempty"`
	// URIs of resources whose changes are told.
	URIs []string `json:"uris,omitempty"`
}

// SubscribeTo notes a resource. It fails with fault.Exhausted when there are too many.
func (s *Session) SubscribeTo(ctx context.Context, uri string) error {
	if len(uri) > maxURI {
		return fault.Invalid.Errorf("the URI of a subscription may have at most %d bytes", maxURI)
	}
	full := false
	s.wish(ctx, func(w *wishes) {
		full = !slices.Contains(w.URIs, uri) && len(w.URIs) >= maxSubscriptions
		if !full && !slices.Contains(w.URIs, uri) {
			w.URIs = append(slices.Clone(w.URIs), uri)
		}
	})
	if full {
		return fault.Exhausted.Errorf("a session subscribes to at most %d resources; unsubscribe from some", maxSubscriptions)
	}
	return nil
}

// UnsubscribeFrom forgets a resource.
func (s *Session) UnsubscribeFrom(ctx context.Context, uri string) {
	s.wish(ctx, func(w *wishes) {
		w.URIs = slices.DeleteFunc(slices.Clone(w.URIs), func(known string) bool { return known == uri })
	})
}

// SetLevel notes what the client wants to hear of logs.
func (s *Session) SetLevel(ctx context.Context, level string) {
	s.wish(ctx, func(w *wishes) { w.Level = level })
}

// Level is what the client wants to hear of logs.
func (s *Session) Level() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wishes.Level
}

// Subscribed says whether a resource is noted here.
func (s *Session) Subscribed(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.wishes.URIs, uri)
}

// Subscriptions are the resources, as all replicas know them.
func (s *Session) Subscriptions(ctx context.Context) []string { return s.known(ctx).URIs }

// WishesChanged returns a channel that closes when the client wants to hear something else.
func (s *Session) WishesChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wished == nil {
		s.wished = make(chan struct{})
	}
	return s.wished
}

func (s *Session) wishesChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wished != nil {
		close(s.wished)
		s.wished = nil
	}
}

// wish changes what the client wants to hear, for all replicas.
func (s *Session) wish(ctx context.Context, change func(*wishes)) {
	defer s.wishesChanged()
	s.mu.Lock()
	change(&s.wishes)
	recorded := !s.kept.IsZero()
	s.mu.Unlock()
	if !recorded {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepLimit)
	defer cancel()
	rec, revision, err := s.store.Records.change(ctx, s.key, func(rec *record) { change(&rec.Wishes) })
	if err != nil {
		return // this replica knows; the next renewal tells the others
	}
	s.markKept(revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wishes = rec.Wishes
}

// known are the wishes, also those that came to other replicas.
func (s *Session) known(ctx context.Context) wishes {
	if s.recorded() {
		ctx, cancel := context.WithTimeout(ctx, keepLimit)
		defer cancel()
		if rec, _, err := s.store.Records.get(ctx, s.key); err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wishes = rec.Wishes
			return s.wishes
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wishes
}

// Caught has a wish told to the agent that the session is with, when that is not where r
// told it: another replica may have moved the session just before it could know of the wish.
func (s *Session) Caught(ctx context.Context, r *Request, m jsonrpc.Message) {
	s.mu.Lock()
	alone, sent := s.kept.IsZero() || !s.ear.elsewhere, r.at
	s.mu.Unlock()
	if alone || sent.Session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handshakeLimit)
	defer cancel()
	rec, _, err := s.store.Records.get(ctx, s.key)
	if now := (Place{rec.URL, rec.Agent}); err == nil && rec.Agent != "" && now != sent {
		_ = s.Upstream.ask(ctx, call{now.URL, now.Session, rec.Protocol}, m.Method, m.Params) // as in repeat
	}
}

// repeat tells a server that has forgotten the client what that wants to hear.
func (s *Session) repeat(ctx context.Context, ask Ask) {
	wanted := s.known(ctx)
	if wanted.Level != "" {
		_ = ask(ctx, "logging/setLevel", map[string]string{"level": wanted.Level}) // it may have no logs any more
	}
	var group errgroup.Group
	group.SetLimit(remindAtOnce)
	for _, uri := range wanted.URIs {
		group.Go(func() error {
			_ = ask(ctx, "resources/subscribe", map[string]string{"uri": uri}) // it may have no such resource any more
			return nil
		})
	}
	_ = group.Wait()
}
