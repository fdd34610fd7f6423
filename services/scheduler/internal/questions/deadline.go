package questions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// DeadlineKey is the key in the _meta of a question's params by which an agent says, in
// seconds, how long the question may stay open; 0: for ever.
const DeadlineKey = "io.agentcloud/deadlineSeconds"

const (
	// mostDeadline keeps a deadline within what a calendar knows.
	mostDeadline = 10 * 365 * 24 * time.Hour
	// sweepBatch bounds one look for what is overdue.
	sweepBatch = 100
)

// deadlineOf is how long a question may stay open; 0: for ever. It fails with
// fault.Invalid.
func deadlineOf(params string, usual time.Duration) (time.Duration, error) {
	var asked struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	said := json.RawMessage(nil)
	if json.Unmarshal([]byte(params), &asked) == nil {
		said = asked.Meta[DeadlineKey]
	}
	if len(said) == 0 || string(said) == "null" {
		return usual, nil
	}
	var seconds float64
	if err := json.Unmarshal(said, &seconds); err != nil || seconds < 0 || seconds > mostDeadline.Seconds() {
		return 0, fault.Invalid.Errorf("%s must be a number of seconds from 0 (for ever) to %.0f", DeadlineKey, mostDeadline.Seconds())
	}
	if seconds == 0 {
		return 0, nil
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Millisecond), nil
}

// expireDue answers what nobody has answered in time.
func (s *Service) expireDue(ctx context.Context) error {
	due, err := s.deps.Store.Overdue(ctx, s.deps.Now(), sweepBatch)
	if err != nil {
		return err
	}
	for _, q := range due {
		if _, err := s.answer(ctx, q, tooLate(q.Method), store.System); err != nil {
			return err
		}
	}
	if len(due) == sweepBatch {
		s.poke()
	}
	return nil
}

// tooLate is what the run is told: an elicitation is cancelled (MCP "Elicitation",
// response actions); for the rest there is no such word, and the agent's SDK makes an
// error of an object that is no result.
func tooLate(method string) string {
	if method == elicitation {
		return `{"action":"cancel"}`
	}
	return `{"error":{"code":-32603,"message":"nobody answered before the deadline"}}`
}
