package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// take gives answers to the agent, and says whether there were any. Unknown keys, those
// that were answered before and those of an earlier round are ignored; an answer of the
// wrong shape answers nothing.
func (b *Bridge) take(ctx context.Context, c *call, round int, responses json.RawMessage) (answered bool, _ *modern.Refusal) {
	answers, refusal := c.pick(round, responses)
	if refusal != nil || len(answers) == 0 {
		return false, refusal
	}
	c.mu.Lock()
	kept := c.kept
	c.mu.Unlock()
	if kept {
		switch err := b.records.answer(c, answers); {
		case fault.Conflict.Is(err):
			c.end()
			return false, moved
		case err != nil:
			b.deps.Log.WarnContext(ctx, "an answer to a call that waits is not written down", "target", c.target, "call", c.id, "error", err)
		}
	}
	for _, a := range answers {
		c.mu.Lock()
		delete(c.open, a.key)
		c.given = append(c.given, given{a.print, a.value})
		c.until = time.Now().Add(b.deps.Wait)
		lost := c.lost
		c.mu.Unlock()
		if !lost {
			c.reply(context.WithoutCancel(ctx), jsonrpc.NewResult(a.agentID, a.value))
		}
	}
	return true, nil
}

// answer is one that fits a question.
type answer struct {
	ask
	key   string
	value json.RawMessage
}

// pick are the answers to what is open, in the order in which it was asked.
func (c *call) pick(round int, responses json.RawMessage) (answers []answer, _ *modern.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if round < c.round {
		return nil, nil
	}
	_ = jsonrpc.Members(responses, func(key string, value json.RawMessage) error { // nothing below fails
		if q, open := c.open[key]; open {
			answers = append(answers, answer{q, key, value})
		}
		return nil
	})
	for _, a := range answers {
		if !fits(a.method, a.value) {
			return nil, modern.Invalid("inputResponses."+a.key+" is no result of "+a.method, nil)
		}
	}
	slices.SortFunc(answers, func(x, y answer) int { return cmp.Or(len(x.key)-len(y.key), cmp.Compare(x.key, y.key)) })
	return answers, nil
}

// fits says whether a value can be the result of a question.
func fits(method string, value json.RawMessage) bool {
	var result struct {
		Action string          `json:"action"`
		Role   string          `json:"role"`
		Roots  json.RawMessage `json:"roots"`
	}
	if !jsonrpc.IsObject(value) || json.Unmarshal(value, &result) != nil {
		return false
	}
	switch method {
	case "elicitation/create":
		return result.Action == "accept" || result.Action == "decline" || result.Action == "cancel"
	case "sampling/createMessage":
		return result.Role != ""
	}
	return result.Roots != nil
}
