package calls_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/calls"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// fixture is the service on a socket, as the gateway calls it.
type fixture struct {
	schedulerv1.CallsServiceClient
	t    *testing.T
	ctx  context.Context
	app  string
	call string
}

func newFixture(t *testing.T, directory *namespaces.Directory) *fixture {
	t.Helper()
	f := &fixture{t: t, app: id.App.New(), call: rand.Text()}
	org := temporaltest.Org()
	f.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.Service, Name: "gateway", OrgID: org})
	records := store.New(dbtest.SQLite(t, store.Migrations()))
	v := store.Version{ID: id.Version.New(), TargetID: f.app, AppID: f.app, OrgID: org, Number: 1}
	if _, err := records.BeginDeploy(t.Context(), v, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	service := calls.NewService(calls.Deps{Store: records, Namespaces: directory, Log: slog.New(slog.DiscardHandler)})
	f.CallsServiceClient = schedulerv1.NewCallsServiceClient(grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterCallsServiceServer(r, service)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return f
}

// ask says what the call asks in a round.
func (f *fixture) ask(reader string, lease int64, round int32, wait time.Duration, keys ...string) error {
	digest := sha256.Sum256([]byte("call"))
	c := &schedulerv1.ParkedCall{
		CallId: f.call, TargetId: f.app, UserId: "u_1", Digest: digest[:], Reader: reader, Lease: lease, Round: round, Place: []byte("sealed place"), Cursor: "7",
	}
	for _, key := range keys {
		c.Open = append(c.Open, &schedulerv1.CallQuestion{Key: key, Sealed: []byte("sealed " + key)})
	}
	_, err := f.AskCall(f.ctx, &schedulerv1.AskCallRequest{Call: c, Wait: durationpb.New(wait)})
	return err
}

func (f *fixture) answer(lease int64, keys ...string) error {
	req := &schedulerv1.AnswerCallRequest{TargetId: f.app, CallId: f.call, Lease: lease, Wait: durationpb.New(time.Hour)}
	for _, key := range keys {
		req.Answers = append(req.Answers, &schedulerv1.CallAnswer{Key: key, Question: []byte("asked"), Sealed: []byte("answer to " + key)})
	}
	_, err := f.AnswerCall(f.ctx, req)
	return err
}

func (f *fixture) finish(lease int64, outcome string) error {
	_, err := f.FinishCall(f.ctx, &schedulerv1.FinishCallRequest{TargetId: f.app, CallId: f.call, Lease: lease, Outcome: []byte(outcome)})
	return err
}

func (f *fixture) take(from, by string) *schedulerv1.ParkedCall {
	f.t.Helper()
	res, err := f.TakeCall(f.ctx, &schedulerv1.TakeCallRequest{TargetId: f.app, CallId: f.call, From: from, By: by})
	if err != nil {
		f.t.Fatalf("TakeCall(%s, %s) = %v", from, by, err)
	}
	return res.GetCall()
}

func (f *fixture) get() *schedulerv1.ParkedCall {
	f.t.Helper()
	res, err := f.GetCall(f.ctx, &schedulerv1.GetCallRequest{TargetId: f.app, CallId: f.call})
	if err != nil {
		f.t.Fatalf("GetCall() = %v", err)
	}
	return res.GetCall()
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestCallIsAskedAnsweredAndFinished(t *testing.T) {
	t.Parallel()
	f := newFixture(t, temporaltest.Directory(t))
	if err := f.answer(0, "q1"); !fault.NotFound.Is(err) {
		t.Errorf("an answer to a call that is not known = %v", err)
	}
	begin := time.Now()
	f.must(f.ask("one", 0, 1, time.Hour, "q1", "q2"))
	t.Logf("the first question was kept after %s", time.Since(begin))
	f.must(f.ask("one", 0, 1, time.Hour, "q1", "q2")) // the same again
	begin = time.Now()
	f.must(f.answer(0, "q1", "unknown"))
	t.Logf("an answer was kept after %s", time.Since(begin))
	f.must(f.answer(0, "q1"))
	call := f.get()
	if len(call.GetOpen()) != 1 || call.GetOpen()[0].GetKey() != "q2" || len(call.GetGiven()) != 1 || string(call.GetGiven()[0].GetSealed()) != "answer to q1" {
		t.Errorf("after one answer the call is %v", call)
	}
	f.must(f.ask("one", 0, 2, time.Hour, "q2", "q3"))
	f.must(f.answer(0, "q2", "q3"))
	f.must(f.finish(0, "sealed result"))
	for name, err := range map[string]error{
		"a question": f.ask("one", 0, 3, time.Hour, "q4"), "an answer": f.answer(0, "q4"), "another end": f.finish(0, "other"),
	} {
		if !fault.Conflict.Is(err) && !fault.NotFound.Is(err) {
			t.Errorf("%s after the end = %v", name, err)
		}
	}
	for name, call := range map[string]*schedulerv1.ParkedCall{"get": f.get(), "take": f.take("one", "other")} {
		if !call.GetEnded() || string(call.GetOutcome()) != "sealed result" || call.GetRound() != 2 || len(call.GetGiven()) != 3 || call.GetReader() != "one" {
			t.Errorf("%s of a call that has ended = %v", name, call)
		}
	}
}

func TestOneReplicaReadsACall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, temporaltest.Directory(t))
	f.must(f.ask("one", 0, 1, time.Hour, "q1"))
	won := make(chan string, 8)
	var all sync.WaitGroup
	for _, by := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		all.Go(func() { won <- f.take("one", by).GetReader() })
	}
	all.Wait()
	close(won)
	reader := <-won
	for other := range won {
		if other != reader {
			t.Errorf("%s and %s both read the call", reader, other)
		}
	}
	for name, err := range map[string]error{
		"a question": f.ask("one", 0, 2, time.Hour, "q2"), "an answer": f.answer(0, "q1"), "an end": f.finish(0, "late"),
	} {
		if !fault.Conflict.Is(err) {
			t.Errorf("%s from the reader before = %v", name, err)
		}
	}
	f.must(f.answer(1, "q1"))
	if call := f.take("one", "late"); call.GetReader() != reader || call.GetLease() != 1 || string(call.GetPlace()) != "sealed place" || call.GetCursor() != "7" {
		t.Errorf("the call is %v", call)
	}
}

func TestCallEndsWhenNobodyComes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, temporaltest.Directory(t))
	f.must(f.ask("one", 0, 1, 300*time.Millisecond, "q1"))
	for deadline := time.Now().Add(20 * time.Second); !f.get().GetEnded(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call waits for ever")
		}
	}
	if call := f.get(); len(call.GetOutcome()) != 0 || len(call.GetOpen()) != 0 {
		t.Errorf("the call ended as %v", call)
	}
}

func TestCallIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, temporaltest.Directory(t))
	f.must(f.ask("one", 0, 1, time.Hour, "q1"))
	as := func(p principal.Principal) error {
		_, err := f.GetCall(principal.With(t.Context(), p), &schedulerv1.GetCallRequest{TargetId: f.app, CallId: f.call})
		return err
	}
	if err := as(principal.Principal{Kind: principal.User, OrgID: principal.From(f.ctx).OrgID, UserID: "u_1", Admin: true}); !fault.Denied.Is(err) {
		t.Errorf("a user reads it: %v", err)
	}
	if err := as(principal.Principal{Kind: principal.Service, OrgID: temporaltest.Org()}); !fault.NotFound.Is(err) {
		t.Errorf("another organisation reads it: %v", err)
	}
	if err := f.ask("one", 0, 101, time.Hour, "q1"); !fault.Exhausted.Is(err) {
		t.Errorf("a round too many = %v", err)
	}
	if err := f.ask("", 0, 1, time.Hour); !fault.Invalid.Is(err) {
		t.Errorf("no reader = %v", err)
	}
	if err := f.finish(0, string(make([]byte, 1<<20+1))); !fault.TooLarge.Is(err) {
		t.Errorf("a result that is too large = %v", err)
	}
	f.call = "unknown"
	if _, err := f.TakeCall(f.ctx, &schedulerv1.TakeCallRequest{TargetId: f.app, CallId: f.call, From: "a", By: "b"}); !fault.NotFound.Is(err) {
		t.Errorf("a call that nobody knows = %v", err)
	}
}

func TestCallSurvivesTemporal(t *testing.T) {
	t.Parallel()
	temporal := temporaltest.NewVictim(t)
	restart := func() { temporal.Kill(); temporal.Start(t) }
	f := newFixture(t, temporal.Directory(t))
	f.must(f.ask("one", 0, 1, time.Hour, "q1"))
	restart()
	eventually(t, func() error { return f.answer(0, "q1") })
	restart()
	eventually(t, func() error { return f.finish(0, "the end") })
	if call := f.get(); string(call.GetOutcome()) != "the end" || len(call.GetGiven()) != 1 {
		t.Errorf("after two restarts the call is %v", call)
	}
}

func eventually(t *testing.T, do func() error) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
