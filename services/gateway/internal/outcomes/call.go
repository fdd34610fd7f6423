package outcomes

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// Call is one that is under way. A nil Call is one that is not counted.
type Call struct {
	to    *tally
	user  uint64
	began time.Time
	now   func() time.Time

	verdict verdict
	seen    bool
	status  int
}

// Answers notes with which HTTP status the agent answers.
func (c *Call) Answers(status int) {
	if c != nil {
		c.status = status
	}
}

// Watch looks at an answer that is not kept whole: at its begin, and at the rest while
// somebody reads it.
func (c *Call) Watch(begin []byte, rest io.Reader) io.Reader {
	if c == nil {
		return rest
	}
	c.seen = true
	c.verdict.look(begin)
	return io.TeeReader(rest, watcher{c})
}

type watcher struct{ *Call }

// Write implements io.Writer.
func (w watcher) Write(part []byte) (int, error) {
	w.verdict.look(part)
	return len(part), nil
}

// End counts the call by its answer, or by what was in its way. One whose client has gone
// is not counted, and neither is one that the gateway refused.
func (c *Call) End(ctx context.Context, reply []byte, err error) {
	switch {
	case c == nil || ctx.Err() != nil:
	case err != nil:
		if kind := fault.KindOf(err); kind == fault.Unavailable || kind == fault.Internal {
			c.count(true)
		}
	default:
		if !c.seen {
			c.verdict.look(reply)
		}
		c.count(c.verdict.failed() || c.status >= http.StatusInternalServerError)
	}
}

// EndModern counts a call of the stateless era. One that asks its client goes on.
func (c *Call) EndModern(ctx context.Context, result json.RawMessage, refusal *modern.Refusal) {
	switch {
	case c == nil || ctx.Err() != nil:
	case refusal == nil && modern.Asks(result):
	case refusal == nil:
		c.verdict.look([]byte(`{"result":`))
		c.verdict.look(result)
		c.count(c.verdict.failed())
	case refusal.Status != http.StatusTooManyRequests: // the gateway's own
		c.count(refusal.Status >= http.StatusInternalServerError || !callersFault(refusal.Code))
	}
}

func (c *Call) count(failed bool) { c.to.add(c.user, c.now().Sub(c.began), failed) }
