package updates

import (
	"context"
	"encoding/json"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// version is what is spoken with agents of the session era.
	version = "2025-11-25"
	hello   = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"` + version + `","capabilities":{},"clientInfo":{"name":"agentcloud","version":"1"}}}`
	// remindAtOnce is how many subscriptions are repeated at once.
	remindAtOnce = 8
)

var (
	errAway   = fault.Unavailable.Errorf("the agent cannot be listened to at the moment; try again")
	errSilent = errors.New("the agent has no stream of its own")
)

// leg listens to an agent of the session era, in a session of its own.
type leg struct {
	up  *sessions.Upstream
	ear *ear
}

func newLeg(e *ear) *leg {
	l := &leg{up: e.hub.open(e.target, e.pick), ear: e}
	l.up.Adopt([]byte(hello))
	l.up.Agreed(version)
	l.up.Remind(l.remind)
	return l
}

func (l *leg) subscribe(ctx context.Context, _ []string, uri string) (bool, error) {
	err := l.up.Ask(ctx, "resources/subscribe", map[string]string{"uri": uri})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, sessions.ErrRefused):
		return false, nil
	case fault.KindOf(err) == fault.Internal:
		return false, errAway
	}
	return false, err
}

func (l *leg) unsubscribe(ctx context.Context, uri string) {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	_ = l.up.Ask(ctx, "resources/unsubscribe", map[string]string{"uri": uri}) // what it says of it is not heeded
}

// remind subscribes again at an agent that has forgotten us.
func (l *leg) remind(ctx context.Context, ask sessions.Ask) {
	var group errgroup.Group
	group.SetLimit(remindAtOnce)
	for _, uri := range l.ear.wanted() {
		group.Go(func() error {
			_ = ask(ctx, "resources/subscribe", map[string]string{"uri": uri}) // it may have no such resource any more
			return nil
		})
	}
	_ = group.Wait()
}

func (l *leg) hear(ctx context.Context, opened func(), each func(raw []byte)) error {
	res, err := l.up.Listen(ctx)
	if errors.Is(err, sessions.ErrSilent) {
		return errSilent
	}
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	opened()
	at := sessions.PlaceOf(res)
	return sessions.ReadQuiet(res.Body, func(e sessions.Event) error {
		if m, err := jsonrpc.Parse(e.Data); err == nil && m.IsRequest() {
			l.answer(ctx, at, m)
			return nil
		}
		each(e.Data)
		return nil
	})
}

// answer answers what can be asked in this conversation: whether we are there.
func (l *leg) answer(ctx context.Context, at sessions.Place, m jsonrpc.Message) {
	if m.Method == "ping" {
		l.up.NotifyAt(ctx, at, jsonrpc.NewResult(m.ID, json.RawMessage(`{}`)))
		return
	}
	l.up.NotifyAt(ctx, at, jsonrpc.NewError(m.ID, jsonrpc.CodeMethodNotFound, "nobody can be asked "+m.Method+" here"))
}

func (l *leg) leave(ctx context.Context) { l.up.End(ctx) }
