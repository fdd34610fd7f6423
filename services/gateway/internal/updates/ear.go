package updates

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const updated = "notifications/resources/updated"

// speaker is how agents of an era are listened to.
type speaker interface {
	// subscribe has the agent tell of these, of which all but one are told of already; it
	// says whether the agent will.
	subscribe(ctx context.Context, all []string, uri string) (bool, error)
	// unsubscribe says that nobody listens to it any more.
	unsubscribe(ctx context.Context, uri string)
	// hear gives what the agent says until its stream ends; opened is called when it is
	// open.
	hear(ctx context.Context, opened func(), each func(raw []byte)) error
	// leave ends the conversation.
	leave(ctx context.Context)
}

// ear is one conversation.
type ear struct {
	key
	hub     *Hub
	speaker speaker
	ctx     context.Context //nolint:containedctx // ends with the conversation, which outlives every request
	end     context.CancelFunc
	opened  chan struct{} // closed when the agent is heard
	// changing is held while the agent is told what is listened to.
	changing sync.Mutex

	mu        sync.Mutex
	joined    int // listeners that are there or about to be
	idle      *time.Timer
	listeners map[*Listener][]string
	refs      map[string]int
	told      map[string]time.Time // when the agent told of a resource last
	// silent says that the agent has no stream, before the conversation with it is ended.
	silent atomic.Bool
}

func newEar(h *Hub, k key) *ear {
	ctx, end := context.WithCancel(context.Background())
	e := &ear{
		key: k, hub: h, ctx: ctx, end: end, opened: make(chan struct{}), joined: 1,
		listeners: map[*Listener][]string{}, refs: map[string]int{}, told: map[string]time.Time{},
	}
	if k.modern {
		e.speaker = newSubscription(e)
	} else {
		e.speaker = newLeg(e)
	}
	return e
}

// join keeps the conversation for one more listener; false when it is over.
func (e *ear) join() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.joined++
	if e.idle != nil {
		e.idle.Stop()
	}
	return true
}

// leave takes a listener away.
func (e *ear) leave(l *Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	uris := e.listeners[l]
	delete(e.listeners, l)
	for _, uri := range uris {
		if e.refs[uri]--; e.refs[uri] == 0 {
			delete(e.refs, uri)
			delete(e.told, uri)
			e.hub.working.Go(func() { e.drop(uri) })
		}
	}
	if e.joined--; e.joined == 0 {
		e.idle = time.AfterFunc(linger, e.endIdle)
	}
}

func (e *ear) endIdle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.joined == 0 {
		e.end()
	}
}

// drop tells the agent that nobody listens to a resource, if that is still so.
func (e *ear) drop(uri string) {
	e.changing.Lock()
	defer e.changing.Unlock()
	if e.ctx.Err() == nil && !slices.Contains(e.wanted(), uri) {
		e.speaker.unsubscribe(e.ctx, uri)
	}
}

// add has a listener told of those resources that the agent tells of.
func (e *ear) add(ctx context.Context, l *Listener, uris []string, before Before) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	for _, uri := range uris {
		if err := e.addOne(ctx, l, uri, before); err != nil && !e.silent.Load() {
			return err
		}
	}
	if len(l.URIs) == 0 {
		return nil
	}
	select {
	case <-e.opened:
		return nil
	case <-e.ctx.Done(): // it has no stream: nothing will be told
		l.URIs = nil
		return nil
	case <-ctx.Done():
		return errAway
	}
}

func (e *ear) addOne(ctx context.Context, l *Listener, uri string, before Before) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if slices.Contains(l.URIs, uri) {
		return nil
	}
	all := e.wanted()
	fresh := !slices.Contains(all, uri)
	if fresh {
		if ok, err := e.speaker.subscribe(ctx, append(all, uri), uri); err != nil || !ok {
			return err
		}
	}
	l.URIs = append(l.URIs, uri)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refs[uri]++
	e.listeners[l] = append(e.listeners[l], uri)
	if !before.Since.IsZero() && !slices.Contains(before.URIs, uri) && (fresh || e.told[uri].After(before.Since)) {
		l.tell(uri)
	}
	return nil
}

// wanted are all resources that somebody listens to.
func (e *ear) wanted() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.refs))
}

// run listens to the agent, across its restarts, until nobody listens here.
func (e *ear) run() {
	defer e.end()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		e.speaker.leave(ctx)
	}()
	pause, heard := firstPause, false
	for e.ctx.Err() == nil && e.fits() {
		err := e.speaker.hear(e.ctx, func() {
			pause = firstPause
			if heard {
				e.tellAll()
				return
			}
			heard = true
			close(e.opened)
		}, e.take)
		if err == errSilent { //nolint:errorlint // its own
			e.silent.Store(true)
			return
		}
		if err != nil {
			pause = min(2*pause, lastPause)
		}
		select {
		case <-e.ctx.Done():
		case <-e.hub.table.Changed():
		case <-time.After(pause):
		}
	}
}

// fits says whether the app is there, and of the era that it was of.
func (e *ear) fits() bool {
	route := e.hub.table.Target(e.target).For(e.pick)
	return route != nil && (!route.Endpoint.Up() || route.Endpoint.GetModern() == e.modern)
}

// take acts on what the agent says.
func (e *ear) take(raw []byte) {
	m, err := jsonrpc.Parse(raw)
	var about struct {
		URI string `json:"uri"`
	}
	if err != nil || m.Method != updated || json.Unmarshal(m.Params, &about) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, uris := range e.listeners {
		for _, of := range uris {
			if within(about.URI, of) {
				e.told[of] = time.Now()
				l.tell(about.URI)
			}
		}
	}
}

// within says whether a resource is another or a part of it (MCP 2025-11-25,
// "Resources": an update may be of a sub-resource).
func within(uri, of string) bool {
	rest, ok := strings.CutPrefix(uri, of)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '#' || strings.HasSuffix(of, "/"))
}

// tellAll tells each listener that each of its resources may have changed: what the agent
// said while it was not heard is lost.
func (e *ear) tellAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, uris := range e.listeners {
		for _, uri := range uris {
			l.tell(uri)
		}
	}
}
