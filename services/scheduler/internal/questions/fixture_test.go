package questions_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/questions"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// known finds the runs that the store knows.
type known struct{ store *store.Store }

func (k known) Locate(ctx context.Context, targetID, _, runID string) (store.Run, error) {
	run, err := k.store.Run(ctx, runID)
	if err == nil && run.TargetID != targetID {
		err = fault.NotFound.Errorf("no such run")
	}
	return run, err
}

func (known) Changed(string) {}

type temporal = client.Client

// mailbox stands for Temporal: it keeps signals, or is away.
type mailbox struct {
	temporal
	mu      sync.Mutex
	away    bool
	tries   int
	signals []string
}

func (m *mailbox) Client(context.Context, string) (client.Client, error) { return m, nil }

func (m *mailbox) SignalWorkflow(_ context.Context, workflowID, runID, name string, _ any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.away {
		return errors.New("temporal is away")
	}
	m.signals = append(m.signals, workflowID+" "+runID+" "+name)
	return nil
}

func (m *mailbox) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *mailbox) seen() (tries int, signals []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries, append([]string(nil), m.signals...)
}

// world is a file with one live app and its runs; services come and go on it.
type world struct {
	dsn, org, app string
	store         *store.Store
	mail          *mailbox
	deadline      time.Duration // of questions that say nothing of it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dsn: "sqlite:" + filepath.Join(t.TempDir(), "scheduler.db"), org: id.Org.New(), app: id.App.New(), mail: &mailbox{}}
	w.store = store.New(w.open(t))
	v := store.Version{ID: id.Version.New(), TargetID: w.app, AppID: w.app, OrgID: w.org, Number: 1}
	if _, err := w.store.BeginDeploy(t.Context(), v, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), w.dsn, store.Migrations())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// run records a run of the app.
func (w *world) run(t *testing.T, runID string) {
	t.Helper()
	err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := w.store.InsertRun(t.Context(), tx, store.Run{
			RunID: runID, WorkflowID: "wf-" + runID, TargetID: w.app, OrgID: w.org, SessionID: "ses_1", UserID: "u_1", StartedAt: time.Now(),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) close(t *testing.T, runID string) {
	t.Helper()
	err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := w.store.CloseRun(t.Context(), tx, runID, "completed", time.Now())
		if err == nil {
			_, err = w.store.WithdrawQuestions(t.Context(), tx, runID, time.Now())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// room is a service on a real socket; with its courier unless it is to stay away.
type room struct {
	schedulerv1.RunsServiceClient
	drain func()
	stop  func()
}

type server struct {
	schedulerv1.UnimplementedRunsServiceServer
	*questions.Service
}

func (s server) AskQuestion(ctx context.Context, r *schedulerv1.AskQuestionRequest) (*schedulerv1.AskQuestionResponse, error) {
	return s.Service.AskQuestion(ctx, r)
}

func (s server) GetQuestion(ctx context.Context, r *schedulerv1.GetQuestionRequest) (*schedulerv1.GetQuestionResponse, error) {
	return s.Service.GetQuestion(ctx, r)
}

func (s server) AnswerQuestion(ctx context.Context, r *schedulerv1.AnswerQuestionRequest) (*schedulerv1.AnswerQuestionResponse, error) {
	return s.Service.AnswerQuestion(ctx, r)
}

func (s server) ListQuestions(ctx context.Context, r *schedulerv1.ListQuestionsRequest) (*schedulerv1.ListQuestionsResponse, error) {
	return s.Service.ListQuestions(ctx, r)
}

// SignalRun is what the scheduler makes of a signal: an answer, where one is waited for.
func (s server) SignalRun(ctx context.Context, r *schedulerv1.SignalRunRequest) (*schedulerv1.SignalRunResponse, error) {
	ok, err := s.AnswerBySignal(ctx, r)
	return &schedulerv1.SignalRunResponse{Found: ok}, err
}

func (w *world) room(t *testing.T, courier bool) *room {
	t.Helper()
	return w.roomAt(t, courier, time.Now)
}

// roomAt is a room with a clock of its own.
func (w *world) roomAt(t *testing.T, courier bool, now func() time.Time) *room {
	t.Helper()
	s := store.New(w.open(t))
	draining := make(chan struct{})
	service := questions.NewService(questions.Deps{
		Store: s, Runs: known{s}, Namespaces: w.mail, Draining: draining, Deadline: w.deadline, Log: slog.New(slog.DiscardHandler), Now: now, NewID: id.Question.New,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	if courier {
		group.Go(func() {
			if err := service.Run(ctx); err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
	}
	r := &room{drain: sync.OnceFunc(func() { close(draining) }), stop: sync.OnceFunc(func() { cancel(); group.Wait() })}
	t.Cleanup(r.stop)
	r.RunsServiceClient = schedulerv1.NewRunsServiceClient(grpctest.Serve(t, func(g grpc.ServiceRegistrar) {
		schedulerv1.RegisterRunsServiceServer(g, server{Service: service})
	}))
	return r
}

func (w *world) user(t *testing.T) context.Context { return as(t, w.org) }

func as(t *testing.T, org string) context.Context {
	return principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: org, UserID: "u_1"})
}

func (w *world) question(runID, signal string) *schedulerv1.AskQuestionRequest {
	return &schedulerv1.AskQuestionRequest{
		TargetId: w.app, RunId: runID, Method: "sampling/createMessage", ParamsJson: `{"message":"sure?"}`, SignalName: signal,
	}
}

func (r *room) ask(ctx context.Context, t *testing.T, req *schedulerv1.AskQuestionRequest) *schedulerv1.AskQuestionResponse {
	t.Helper()
	res, err := r.AskQuestion(ctx, req)
	if err != nil {
		t.Fatalf("AskQuestion(%v) = %v", req, err)
	}
	return res
}

func (r *room) answer(ctx context.Context, t *testing.T, questionID, text string) bool {
	t.Helper()
	res, err := r.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: questionID, AnswerJson: text})
	if err != nil {
		t.Fatalf("AnswerQuestion(%s) = %v", text, err)
	}
	return res.GetAccepted()
}

func seconds(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
