package flow

import "go.temporal.io/sdk/workflow"

// BridgeCall keeps a call that waits for its client: nothing in it happens by itself
// but its end, when nobody has said anything for too long.
func BridgeCall(ctx workflow.Context, first CallAsk) (Call, error) {
	call := first.Call
	call.Round, call.Size = 0, 0 // the first question comes as an update, too
	call.Deadline = workflow.Now(ctx).Add(first.Wait)
	if err := call.listen(ctx); err != nil {
		return call, err
	}
	for !call.Ended {
		deadline := call.Deadline
		moved, err := workflow.AwaitWithTimeout(ctx, deadline.Sub(workflow.Now(ctx)), func() bool {
			return call.Ended || !call.Deadline.Equal(deadline)
		})
		if err != nil {
			return call, err
		}
		if !moved {
			call.end(CallEnd{})
		}
	}
	// What was asked of it while it ended gets its answer.
	err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
	return call, err
}

// listen lets the call be asked about and changed.
func (c *Call) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, CallState, func() (Call, error) { return *c, nil }); err != nil {
		return err
	}
	for _, update := range []struct {
		name             string
		handle, validate any
	}{
		{CallAskUpdate, func(ctx workflow.Context, a CallAsk) error { c.ask(a, workflow.Now(ctx)); return nil }, c.checkAsk},
		{
			CallAnswerUpdate,
			func(ctx workflow.Context, r CallReply) error { c.reply(r, workflow.Now(ctx)); return nil },
			func(r CallReply) error { return c.check(r.Lease) },
		},
		{
			CallFinishUpdate,
			func(_ workflow.Context, e CallEnd) error { c.end(e); return nil },
			func(e CallEnd) error { return c.check(e.Lease) },
		},
		{CallTakeUpdate, func(_ workflow.Context, t CallTake) (Call, error) { c.take(t); return *c, nil }, nil},
	} {
		options := workflow.UpdateHandlerOptions{Validator: update.validate}
		if err := workflow.SetUpdateHandlerWithOptions(ctx, update.name, update.handle, options); err != nil {
			return err
		}
	}
	return nil
}
