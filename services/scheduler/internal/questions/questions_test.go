package questions_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestAnAnswerReachesItsRunOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r, ctx := w.room(t, true), w.user(t)
	asked := r.ask(ctx, t, w.question("run_1", "resume"))
	if again := r.ask(ctx, t, w.question("run_1", "resume")); again.GetQuestion().GetQuestionId() != asked.GetQuestion().GetQuestionId() {
		t.Errorf("the same question asked again is %v, want %v", again, asked)
	}
	questionID := asked.GetQuestion().GetQuestionId()
	if !r.answer(ctx, t, questionID, `{"action":"accept"}`) {
		t.Error("the first answer was not accepted")
	}
	if r.answer(ctx, t, questionID, `{"action":"decline"}`) {
		t.Error("a second, other answer was accepted")
	}
	if !r.answer(ctx, t, questionID, `{"action":"accept"}`) {
		t.Error("the same answer again was not accepted")
	}
	eventually(t, "the question is done", func() bool {
		q, err := w.store.Question(t.Context(), questionID)
		return err == nil && q.State == store.Done
	})
	if _, got := w.mail.seen(); !cmp.Equal(got, []string{"wf-run_1 run_1 resume"}) {
		t.Errorf("signals = %q, want one", got)
	}
}

// Many answer at the same moment: exactly one is told that it was first.
func TestTheFirstAnswerWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r, ctx := w.room(t, false), w.user(t)
	questionID := r.ask(ctx, t, w.question("run_1", "resume")).GetQuestion().GetQuestionId()
	var accepted atomic.Int32
	var group errgroup.Group
	for n := range 8 {
		group.Go(func() error {
			res, err := r.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: questionID, AnswerJson: fmt.Sprint(n)})
			if res.GetAccepted() {
				accepted.Add(1)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil || accepted.Load() != 1 {
		t.Errorf("%d answers of 8 were accepted, %v; want 1", accepted.Load(), err)
	}
}

func TestListQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, ctx := w.room(t, false), w.user(t)
	for _, run := range []string{"run_1", "run_2", "run_3"} {
		w.run(t, run)
		r.ask(ctx, t, w.question(run, "resume"))
	}
	answered := r.ask(ctx, t, w.question("run_3", "again")).GetQuestion().GetQuestionId()
	r.answer(ctx, t, answered, `1`)
	w.close(t, "run_2") // withdraws its question
	service := principal.With(t.Context(), principal.Principal{Kind: principal.Service, Name: "gateway"})
	tests := map[string]struct {
		ctx  context.Context //nolint:containedctx // who asks
		req  *schedulerv1.ListQuestionsRequest
		want string
		kind fault.Kind
	}{
		"of the organisation":            {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{}, want: "run_1 run_3"},
		"of an app":                      {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{TargetId: w.app}, want: "run_1 run_3"},
		"of a run":                       {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{RunId: "run_3"}, want: "run_3"},
		"of a session":                   {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{SessionId: "ses_1"}, want: "run_1 run_3"},
		"of another session":             {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{SessionId: "ses_2"}},
		"of a run that ended":            {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{RunId: "run_2"}},
		"a page":                         {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{PageSize: 1}, want: "run_1"},
		"answered":                       {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{State: "answered"}, want: "run_3"},
		"withdrawn":                      {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{State: "withdrawn"}, want: "run_2"},
		"expired":                        {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{State: "expired"}},
		"any":                            {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{State: "any"}, want: "run_1 run_2 run_3 run_3"},
		"in no state":                    {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{State: "lost"}, kind: fault.Invalid},
		"after a damaged token":          {ctx: ctx, req: &schedulerv1.ListQuestionsRequest{PageToken: "%"}, kind: fault.Invalid},
		"by another organisation":        {ctx: as(t, id.Org.New()), req: &schedulerv1.ListQuestionsRequest{RunId: "run_1"}},
		"of a stranger's app":            {ctx: as(t, id.Org.New()), req: &schedulerv1.ListQuestionsRequest{TargetId: w.app}, kind: fault.NotFound},
		"by nobody":                      {ctx: t.Context(), req: &schedulerv1.ListQuestionsRequest{RunId: "run_1"}, kind: fault.Denied},
		"by a room, of any organisation": {ctx: service, req: &schedulerv1.ListQuestionsRequest{}, want: "run_1 run_3"},
	}
	for name, tt := range tests {
		res, err := r.ListQuestions(tt.ctx, tt.req)
		var runs []string
		for _, q := range res.GetQuestions() {
			runs = append(runs, q.GetRunId())
		}
		if got := strings.Join(runs, " "); fault.KindOf(err) != tt.kind || got != tt.want {
			t.Errorf("%s: ListQuestions() = %q, %v; want %q, kind %v", name, got, err, tt.want, tt.kind)
		}
	}
}

// Pages come whole, also when many were asked in the same millisecond and an earlier one
// is answered between two of them.
func TestListQuestionsInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	at := time.Now()
	r, ctx := w.roomAt(t, false, func() time.Time { return at }), w.user(t)
	want := map[string]bool{}
	for n := range 7 {
		want[r.ask(ctx, t, w.question("run_1", fmt.Sprint(n))).GetQuestion().GetQuestionId()] = true
	}
	token := ""
	for page := range 10 {
		res, err := r.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatalf("ListQuestions(%q) = %v", token, err)
		}
		for _, q := range res.GetQuestions() {
			if !want[q.GetQuestionId()] {
				t.Errorf("page %d has %s, which is no question or came before", page, q.GetQuestionId())
			}
			delete(want, q.GetQuestionId())
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
		r.answer(ctx, t, res.GetQuestions()[0].GetQuestionId(), `1`)
	}
	if len(want) != 0 || token != "" {
		t.Errorf("pages lack %d questions, and end at %q", len(want), token)
	}
}

func TestBadQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r := w.room(t, false)
	tests := map[string]struct {
		change func(*schedulerv1.AskQuestionRequest)
		org    string
		want   fault.Kind
	}{
		"no method":              {change: func(q *schedulerv1.AskQuestionRequest) { q.Method = "" }, want: fault.Invalid},
		"a long method":          {change: func(q *schedulerv1.AskQuestionRequest) { q.Method = strings.Repeat("m", 1001) }, want: fault.Invalid},
		"a long signal":          {change: func(q *schedulerv1.AskQuestionRequest) { q.SignalName = strings.Repeat("s", 1001) }, want: fault.Invalid},
		"a long key":             {change: func(q *schedulerv1.AskQuestionRequest) { q.AskKey = strings.Repeat("k", 1001) }, want: fault.Invalid},
		"no JSON":                {change: func(q *schedulerv1.AskQuestionRequest) { q.ParamsJson = "{" }, want: fault.Invalid},
		"much too much":          {change: func(q *schedulerv1.AskQuestionRequest) { q.ParamsJson = `"` + strings.Repeat("x", 1<<20) + `"` }, want: fault.TooLarge},
		"an unknown app":         {change: func(q *schedulerv1.AskQuestionRequest) { q.TargetId = id.App.New() }, want: fault.NotFound},
		"an unknown run":         {change: func(q *schedulerv1.AskQuestionRequest) { q.RunId = "run_9" }, want: fault.NotFound},
		"another organisation's": {change: func(*schedulerv1.AskQuestionRequest) {}, org: id.Org.New(), want: fault.NotFound},
	}
	for name, tt := range tests {
		req, org := w.question("run_1", "resume"), w.org
		tt.change(req)
		if tt.org != "" {
			org = tt.org
		}
		if _, err := r.AskQuestion(as(t, org), req); !tt.want.Is(err) {
			t.Errorf("%s: AskQuestion() = %v, want kind %v", name, err, tt.want)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r := w.room(t, false)
	questionID := r.ask(w.user(t), t, w.question("run_1", "resume")).GetQuestion().GetQuestionId()
	for name, tt := range map[string]struct {
		org, question, answer string
		want                  fault.Kind
	}{
		"unknown":              {w.org, id.Question.New(), `1`, fault.NotFound},
		"another organisation": {id.Org.New(), questionID, `1`, fault.NotFound},
		"no organisation":      {"", questionID, `1`, fault.NotFound},
		"nothing":              {w.org, questionID, ``, fault.Invalid},
		"no JSON":              {w.org, questionID, `yes`, fault.Invalid},
		"much too much":        {w.org, questionID, `"` + strings.Repeat("x", 1<<20) + `"`, fault.TooLarge},
	} {
		_, err := r.AnswerQuestion(as(t, tt.org), &schedulerv1.AnswerQuestionRequest{QuestionId: tt.question, AnswerJson: tt.answer})
		if !tt.want.Is(err) {
			t.Errorf("%s: AnswerQuestion() = %v, want kind %v", name, err, tt.want)
		}
	}
	if q, err := w.store.Question(t.Context(), questionID); err != nil || q.State != store.Open {
		t.Errorf("after bad answers the question is %q, %v; want open", q.State, err)
	}
}

// What was accepted arrives, although Temporal is away and the room ends meanwhile.
func TestAnAnswerSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	w.mail.setAway(true)
	first, ctx := w.room(t, true), w.user(t)
	questionID := first.ask(ctx, t, w.question("run_1", "resume")).GetQuestion().GetQuestionId()
	first.answer(ctx, t, questionID, `1`)
	eventually(t, "the courier tried", func() bool { tries, _ := w.mail.seen(); return tries > 0 })
	first.stop()
	w.mail.setAway(false)
	w.room(t, true)
	eventually(t, "the answer arrives", func() bool { _, signals := w.mail.seen(); return len(signals) == 1 })
}

// A question that stood before a restart is answered after it.
func TestAQuestionSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	first, ctx := w.room(t, true), w.user(t)
	questionID := first.ask(ctx, t, w.question("run_1", "resume")).GetQuestion().GetQuestionId()
	first.stop()
	if !w.room(t, true).answer(ctx, t, questionID, `1`) {
		t.Error("the answer was not accepted")
	}
	eventually(t, "the answer arrives", func() bool { _, signals := w.mail.seen(); return len(signals) == 1 })
}

func TestAQuestionEndsWithItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r, ctx := w.room(t, true), w.user(t)
	questionID := r.ask(ctx, t, w.question("run_1", "resume")).GetQuestion().GetQuestionId()
	w.close(t, "run_1")
	if r.answer(ctx, t, questionID, `1`) {
		t.Error("an answer for a run that ended was accepted")
	}
	for _, signal := range []string{"resume", "a question that comes too late"} {
		if _, err := r.AskQuestion(ctx, w.question("run_1", signal)); !fault.Conflict.Is(err) {
			t.Errorf("AskQuestion(%s) after the end = %v, want conflict", signal, err)
		}
	}
	res, err := r.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{})
	if err != nil || len(res.GetQuestions()) != 0 {
		t.Errorf("ListQuestions() = %v, %v, want none", res, err)
	}
}

// An asker without a signal waits on its call, on any replica.
func TestAnAskerWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, there, ctx := w.room(t, true), w.room(t, false), w.user(t)
	for name, answers := range map[string]*room{"run_here": here, "run_there": there} {
		w.run(t, name)
		req := w.question(name, "")
		first := here.ask(ctx, t, req)
		if first.GetAnswered() {
			t.Errorf("%s: answered at once", name)
		}
		req.Wait = seconds(60)
		done := make(chan string, 1)
		go func() {
			res, err := here.AskQuestion(ctx, req)
			done <- fmt.Sprint(res.GetAnswerJson(), err)
		}()
		answers.answer(ctx, t, first.GetQuestion().GetQuestionId(), `{"ok":true}`)
		if got := <-done; got != `{"ok":true}<nil>` {
			t.Errorf("%s: the asker got %s", name, got)
		}
	}
	if tries, _ := w.mail.seen(); tries != 0 {
		t.Errorf("%d signals were sent to runs that wait for none", tries)
	}
}

func TestADrainEndsWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, "run_1")
	r := w.room(t, false)
	req := w.question("run_1", "")
	req.Wait = seconds(60)
	r.drain()
	begun := time.Now()
	if res := r.ask(w.user(t), t, req); res.GetAnswered() || time.Since(begun) > 30*time.Second {
		t.Errorf("a drained wait = %v after %s, want no answer at once", res, time.Since(begun))
	}
}
