package questions_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// clock is a time that passes when the test says so.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) forward(by time.Duration) { c.offset.Add(int64(by)) }

func elicited(w *world, runID, signal, deadline string) *schedulerv1.AskQuestionRequest {
	req := w.question(runID, signal)
	req.Method, req.ParamsJson = "elicitation/create", `{"message":"sure?"}`
	if deadline != "" {
		req.ParamsJson = fmt.Sprintf(`{"message":"sure?","_meta":{"io.agentcloud/deadlineSeconds":%s}}`, deadline)
	}
	return req
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		usual    time.Duration
		deadline string
		want     time.Duration // 0: none
		kind     fault.Kind
	}{
		"none":                     {},
		"the usual one":            {usual: time.Hour, want: time.Hour},
		"the asker's":              {usual: time.Hour, deadline: "90", want: 90 * time.Second},
		"a part of a second":       {deadline: "0.5", want: 500 * time.Millisecond},
		"for ever, says the asker": {usual: time.Hour, deadline: "0"},
		"null is the usual":        {usual: time.Hour, deadline: "null", want: time.Hour},
		"below zero":               {deadline: "-1", kind: fault.Invalid},
		"no number":                {deadline: `"soon"`, kind: fault.Invalid},
		"beyond the calendar":      {deadline: "1e18", kind: fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deadline = tt.usual
			w.run(t, "run_1")
			res, err := w.room(t, false).AskQuestion(w.user(t), elicited(w, "run_1", "answer", tt.deadline))
			if fault.KindOf(err) != tt.kind {
				t.Fatalf("AskQuestion() = %v, want kind %v", err, tt.kind)
			}
			q := res.GetQuestion()
			if tt.want == 0 {
				if q.GetDeadline() != nil {
					t.Errorf("deadline = %v, want none", q.GetDeadline())
				}
				return
			}
			if got := q.GetDeadline().AsTime().Sub(q.GetAskedAt().AsTime()); got != tt.want {
				t.Errorf("the deadline is %s after the question, want %s", got, tt.want)
			}
		})
	}
}

// What nobody answers in time is told to the run, once, also when the time passed while
// nothing was up; what waits for ever still does.
func TestAQuestionExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	var at clock
	first, ctx := w.roomAt(t, true, at.now), w.user(t)
	limited := first.ask(ctx, t, elicited(w, "run_1", "limited", "3600")).GetQuestion().GetQuestionId()
	sampled := w.question("run_1", "sampled")
	sampled.ParamsJson = `{"_meta":{"io.agentcloud/deadlineSeconds":3600}}`
	sampling := first.ask(ctx, t, sampled).GetQuestion().GetQuestionId()
	forever := first.ask(ctx, t, elicited(w, "run_1", "forever", "")).GetQuestion().GetQuestionId()
	first.stop()
	at.forward(time.Hour)
	next := w.roomAt(t, true, at.now)
	eventually(t, "the run was told", func() bool { _, signals := w.mail.seen(); return len(signals) == 2 })
	for id, want := range map[string]string{limited: `{"action":"cancel"}`, sampling: `{"error":{"code":-32603,"message":"nobody answered before the deadline"}}`} {
		q, err := w.store.Question(t.Context(), id)
		if err != nil || q.AnswerJSON != want || q.AnsweredBy != store.System {
			t.Errorf("the answer of %s is %s by %q, %v; want %s by the system", id, q.AnswerJSON, q.AnsweredBy, err, want)
		}
	}
	if next.answer(ctx, t, limited, `{"action":"cancel"}`) {
		t.Error("an answer after the deadline was accepted")
	}
	for id, want := range map[string]string{limited: "expired", sampling: "expired", forever: "open"} {
		res, err := next.GetQuestion(ctx, &schedulerv1.GetQuestionRequest{QuestionId: id})
		if err != nil || res.GetQuestion().GetState() != want {
			t.Errorf("the state of %s is %q, %v; want %s", id, res.GetQuestion().GetState(), err, want)
		}
	}
}

// The deadline counts, not the moment at which it is noticed.
func TestAnAnswerAfterTheDeadlineIsLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	var at clock
	r, ctx := w.roomAt(t, false, at.now), w.user(t)
	q := r.ask(ctx, t, elicited(w, "run_1", "answer", "60")).GetQuestion().GetQuestionId()
	at.forward(time.Minute)
	if r.answer(ctx, t, q, `{"action":"decline"}`) {
		t.Error("an answer after the deadline was accepted")
	}
}

// An asker that waits on its call is told at the deadline, too.
func TestAWaitingAskerIsToldAtTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	req := elicited(w, "run_1", "", "0.2")
	req.AskKey, req.Wait = "1", seconds(30)
	res := w.room(t, true).ask(w.user(t), t, req)
	if !res.GetAnswered() || res.GetAnswerJson() != `{"action":"cancel"}` {
		t.Errorf("AskQuestion() = %v, want the cancel of the deadline", res)
	}
}

func TestASignalIsAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r, ctx := w.room(t, true), w.user(t)
	asked := elicited(w, "run_1", "mcp_rpc_1", "")
	asked.ParamsJson = `{"message":"?","requestedSchema":{"properties":{"ok":{"type":"boolean"}},"required":["ok"]}}`
	q := r.ask(ctx, t, asked).GetQuestion().GetQuestionId()
	send := func(run, name, payload string) (bool, error) {
		res, err := r.SignalRun(ctx, &schedulerv1.SignalRunRequest{TargetId: w.app, RunId: run, SignalName: name, PayloadJson: payload})
		return res.GetFound(), err
	}
	for _, tt := range []struct {
		name, run, signal, payload string
		want                       bool
		kind                       fault.Kind
	}{
		{"a plain resume", "run_1", "", `{"action":"accept"}`, false, 0},
		{"another signal", "run_1", "resume", `1`, false, 0},
		{"another run's", "run_2", "mcp_rpc_1", `1`, false, 0},
		{"what does not fit", "run_1", "mcp_rpc_1", `{"action":"accept","content":{"ok":1}}`, true, fault.Invalid},
		{"no payload", "run_1", "mcp_rpc_1", ``, true, fault.Invalid},
		{"the answer", "run_1", "mcp_rpc_1", `{"action":"accept","content":{"ok":true}}`, true, 0},
		{"the same again", "run_1", "mcp_rpc_1", `{"action":"accept","content":{"ok":true}}`, true, 0},
		{"another one", "run_1", "mcp_rpc_1", `{"action":"decline"}`, true, fault.Conflict},
	} {
		got, err := send(tt.run, tt.signal, tt.payload)
		if fault.KindOf(err) != tt.kind || err == nil && got != tt.want {
			t.Errorf("%s: SignalRun() = %t, %v; want %t, kind %v", tt.name, got, err, tt.want, tt.kind)
		}
	}
	eventually(t, "the run has it", func() bool {
		_, signals := w.mail.seen()
		return cmp.Equal(signals, []string{"wf-run_1 run_1 mcp_rpc_1"})
	})
	res, err := r.GetQuestion(ctx, &schedulerv1.GetQuestionRequest{QuestionId: q})
	if err != nil || res.GetQuestion().GetState() != "answered" || res.GetQuestion().GetAnsweredBy() != "u_1" {
		t.Errorf("GetQuestion() = %v, %v; want answered by u_1", res, err)
	}
}
