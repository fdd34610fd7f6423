package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// A Reminder tells a server what it has forgotten, with ask, when a conversation is begun
// anew. Calls wait until it returns.
type Reminder func(ctx context.Context, ask Ask)

// Ask asks a server something whose result says nothing. It may be used at the same time.
type Ask func(ctx context.Context, method string, params any) error

// Remind has the server reminded. It is called before the conversation is begun anew.
func (u *Upstream) Remind(r Reminder) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.remind = r
}

// begunAnew reminds the server.
func (u *Upstream) begunAnew(ctx context.Context, c call) {
	u.mu.Lock()
	remind := u.remind
	u.mu.Unlock()
	if remind != nil {
		remind(ctx, func(ctx context.Context, method string, params any) error { return u.ask(ctx, c, method, params) })
	}
}

// Ask asks the server something whose result says nothing.
func (u *Upstream) Ask(ctx context.Context, method string, params any) error {
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	c, err := u.current(until)
	if err != nil {
		return err
	}
	return u.ask(until, c, method, params)
}

// ErrRefused says that a server answered with an error.
var ErrRefused = errors.New("the agent refused")

func (u *Upstream) ask(ctx context.Context, c call, method string, params any) error {
	u.mu.Lock()
	u.asked++
	id := jsonrpc.Encode("agentcloud-again-" + strconv.FormatInt(u.asked, 10))
	u.mu.Unlock()
	res, err := u.post(ctx, c, jsonrpc.NewRequest(id, method, jsonrpc.Encode(params)))
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	reply, err := u.ReadReply(ctx, res)
	if err != nil {
		return err
	}
	var m struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(reply, &m) != nil || len(m.Error) > 0 {
		return ErrRefused
	}
	return nil
}
