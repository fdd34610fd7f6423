package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

const patience = 20 * time.Second

var errNotYet = errors.New("not yet")

// inbox notes what a consumer was given.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) add(event proto.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, event.(*registryv1.AppDeleted).GetAppId())
}

func (i *inbox) all() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.got...)
}

// want waits until the inbox holds exactly this.
func (i *inbox) want(t *testing.T, want ...string) {
	t.Helper()
	i.wait(t, fmt.Sprint(want), func(all []string) bool { return cmp.Equal(all, want) })
}

func (i *inbox) wait(t *testing.T, want string, content func([]string) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !content(i.all()) {
		if time.Now().After(deadline) {
			t.Fatalf("the consumer got %v, want %s", i.all(), want)
		}
		time.Sleep(5 * time.Millisecond) // until another goroutine is done
	}
}

// background runs a blocking call until the test ends or stop is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("a background call ended with %v, want nil", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func consume(t *testing.T, b *bus.Bus, handle func(context.Context, proto.Message) error) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error { return b.Consume(ctx, "reader", handle, &registryv1.AppDeleted{}) })
}

func relay(t *testing.T, b *bus.Bus, db *sqldb.DB) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error { return b.Relay(ctx, db) })
}

func put(t *testing.T, db *sqldb.DB, app string, end error) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *sqldb.Tx) error {
		if err := bus.Put(t.Context(), tx, &registryv1.AppDeleted{AppId: app}); err != nil {
			return err
		}
		return end
	})
	if !errors.Is(err, end) {
		t.Fatalf("Tx() = %v, want %v", err, end)
	}
}

func waiting(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEventsShareTheFateOfTheirTransaction(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, nil, func(t *testing.T, db *sqldb.DB) {
		b := bustest.New(t)
		put(t, db, "kept", nil)
		put(t, db, "undone", errNotYet)
		put(t, db, "kept too", nil)
		var got inbox
		consume(t, b, func(_ context.Context, event proto.Message) error { got.add(event); return nil })
		relay(t, b, db)
		got.want(t, "kept", "kept too")
		put(t, db, "later", nil)
		got.want(t, "kept", "kept too", "later")
	})
}

// A relay that dies between sending and clearing its row sends it again under the
// same message id.
func TestRowsSentTwiceArriveOnce(t *testing.T) {
	t.Parallel()
	b, db := bustest.New(t), dbtest.SQLite(t, nil)
	put(t, db, "once", nil)
	var id, subject string
	var payload []byte
	if err := db.QueryRow(t.Context(), `SELECT message_id, subject, payload FROM outbox`).Scan(&id, &subject, &payload); err != nil {
		t.Fatal(err)
	}
	stop := relay(t, b, db)
	var got inbox
	consume(t, b, func(_ context.Context, event proto.Message) error { got.add(event); return nil })
	got.want(t, "once")
	stop()
	if n := waiting(t, db); n != 0 {
		t.Fatalf("%d rows are left in the outbox, want none", n)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO outbox (message_id, subject, payload) VALUES (?, ?, ?)`, id, subject, payload); err != nil {
		t.Fatal(err)
	}
	put(t, db, "after", nil)
	relay(t, b, db)
	got.want(t, "once", "after")
}

func TestEventsOutliveAKilledServer(t *testing.T) {
	t.Parallel()
	server, db := bustest.Start(t), dbtest.SQLite(t, nil)
	b := server.Bus(t)
	relay(t, b, db)
	put(t, db, "before", nil)
	var got inbox
	stop := consume(t, b, func(_ context.Context, event proto.Message) error { got.add(event); return nil })
	got.want(t, "before")
	server.Kill()
	put(t, db, "meanwhile", nil)
	stop()
	if n := waiting(t, db); n != 1 {
		t.Fatalf("%d events wait in the outbox, want 1", n)
	}
	server.Restart(t)
	consume(t, b, func(_ context.Context, event proto.Message) error { got.add(event); return nil })
	// An acknowledgement may die with the server, so the first may come once more.
	if got.wait(t, "meanwhile", func(all []string) bool { return slices.Contains(all, "meanwhile") }); got.all()[0] != "before" {
		t.Errorf("the consumer got %v, want the order of the transactions", got.all())
	}
}

// A handler that did its work and died before it said so gets the event again, and
// sees in its own transaction that there is nothing left to do.
func TestEventsAreKeptUntilTheyHaveSettled(t *testing.T) {
	t.Parallel()
	server, db := bustest.Start(t), dbtest.SQLite(t, nil)
	b := server.Bus(t)
	bus.Settle(b, time.Hour)
	var got inbox
	end := consume(t, b, func(_ context.Context, event proto.Message) error { got.add(event); return nil })
	stop := relay(t, b, db)
	put(t, db, "one", nil)
	got.want(t, "one")
	put(t, db, "two", nil)
	got.want(t, "one", "two")
	if n := waiting(t, db); n != 2 {
		t.Fatalf("%d events are kept, want 2", n)
	}
	stop()
	end()
	server.Lose()
	server.Restart(t)

	b = server.Bus(t)
	bus.Settle(b, time.Millisecond)
	var again inbox
	consume(t, b, func(_ context.Context, event proto.Message) error { again.add(event); return nil })
	relay(t, b, db)
	again.want(t, "one", "two")
	for deadline := time.Now().Add(patience); waiting(t, db) > 0; time.Sleep(5 * time.Millisecond) { // until the relay's next turn
		if time.Now().After(deadline) {
			t.Fatalf("%d events are kept for ever", waiting(t, db))
		}
	}
}

func TestWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, nil, func(t *testing.T, db *sqldb.DB) {
		b := bustest.New(t)
		bus.Hurry(b, 5)
		var done, calls inbox
		consume(t, b, func(ctx context.Context, event proto.Message) error {
			err := db.Tx(ctx, func(tx *sqldb.Tx) error {
				fresh, err := bus.Once(ctx, tx, "reader")
				if fresh {
					done.add(event)
				}
				return err
			})
			calls.add(event)
			if len(calls.all()) == 1 {
				return errNotYet
			}
			return err
		})
		relay(t, b, db)
		put(t, db, "work", nil)
		calls.want(t, "work", "work")
		done.want(t, "work")
	})
}

func TestHopelessEventsAreGivenUp(t *testing.T) {
	t.Parallel()
	handlers := map[string]func() error{
		"that fail": func() error { return errNotYet },
		"that panic": func() error {
			var nobody *sync.Mutex
			nobody.Lock()
			return nil
		},
	}
	for desc, fail := range handlers {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			b, db := bustest.New(t), dbtest.SQLite(t, nil)
			bus.Hurry(b, 3)
			var got inbox
			consume(t, b, func(_ context.Context, event proto.Message) error {
				got.add(event)
				if event.(*registryv1.AppDeleted).GetAppId() == "bad" {
					return fail()
				}
				return nil
			})
			relay(t, b, db)
			put(t, db, "bad", nil)
			wantDead(t, b, "registry.app.deleted", "bad")
			put(t, db, "good", nil)
			got.want(t, "bad", "bad", "bad", "good")
		})
	}
}

func wantDead(t *testing.T, b *bus.Bus, subject, app string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var letter registryv1.AppDeleted
		stream, err := b.JetStream().Stream(t.Context(), "DEAD")
		if err == nil {
			raw, readErr := stream.GetLastMsgForSubject(t.Context(), bus.DeadSubject("reader", subject))
			if err = readErr; err == nil {
				err = proto.Unmarshal(raw.Data, &letter)
			}
		}
		if err == nil && letter.GetAppId() == app {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the dead letter is %q (%v), want %q", letter.GetAppId(), err, app)
		}
		time.Sleep(5 * time.Millisecond) // until another goroutine is done
	}
}

func TestASlowHandlerIsNotInterrupted(t *testing.T) {
	t.Parallel()
	b, db := bustest.New(t), dbtest.SQLite(t, nil)
	bus.Hurry(b, 3)
	var got inbox
	release := make(chan struct{})
	consume(t, b, func(_ context.Context, event proto.Message) error {
		got.add(event)
		<-release
		return nil
	})
	relay(t, b, db)
	put(t, db, "slow", nil)
	put(t, db, "next", nil)
	got.want(t, "slow")
	time.AfterFunc(time.Second, func() { close(release) }) // thrice what the server waits for a word
	got.want(t, "slow", "next")
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for tries, want := range map[uint64]time.Duration{
		0: 250 * time.Millisecond, 1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 5: 4 * time.Second, 9: time.Minute, 1000: time.Minute,
	} {
		if got := bus.Backoff(tries); got != want {
			t.Errorf("backoff(%d) = %s, want %s", tries, got, want)
		}
	}
}

func TestListenersHearInEveryProcess(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	sender, db := server.Bus(t), dbtest.SQLite(t, nil)
	ears := make([]inbox, 2)
	for i := range ears {
		b := server.Bus(t)
		background(t, func(ctx context.Context) error { return b.Listen(ctx, ears[i].add, &registryv1.AppDeleted{}) })
		awaitSubscription(t, b)
	}
	relay(t, sender, db)
	put(t, db, "heard", nil)
	for i := range ears {
		ears[i].want(t, "heard")
	}
}

// awaitSubscription returns when the server knows of a subscription.
func awaitSubscription(t *testing.T, b *bus.Bus) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for b.Conn().NumSubscriptions() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nobody listens")
		}
		time.Sleep(time.Millisecond) // until another goroutine is done
	}
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestLogsAreStoredWhenPublishReturns(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := server.Bus(t)
	batch := &busv1.LogBatch{TargetId: "app_1", OrgId: "org_1", Lines: []*busv1.LogLine{{LineId: "1", Message: "hello"}}}
	if err := b.PublishLogs(t.Context(), batch); err != nil {
		t.Fatalf("PublishLogs() = %v, want nil", err)
	}
	server.Kill()
	server.Restart(t)
	again := server.Bus(t)
	stream, err := again.JetStream().Stream(t.Context(), bus.LogsStream)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := stream.GetLastMsgForSubject(t.Context(), bus.LogSubject("app_1"))
	if err != nil {
		t.Fatal(err)
	}
	var got busv1.LogBatch
	if err := proto.Unmarshal(raw.Data, &got); err != nil || !proto.Equal(&got, batch) {
		t.Fatalf("the stream holds %v (%v), want %v", &got, err, batch)
	}
}

func TestCallsEndWithTheirContextWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	b, err := bus.Connect(bus.Options{URL: "nats://127.0.0.1:1", Log: grpctest.Logger(t)})
	if err != nil {
		t.Fatalf("Connect() = %v, want a bus that goes on trying", err)
	}
	t.Cleanup(b.Conn().Close)
	if err := b.Ready(); err == nil {
		t.Error("Ready() = nil without a server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := b.PublishLogs(ctx, &busv1.LogBatch{TargetId: "app_1"}); err == nil {
		t.Error("PublishLogs() = nil without a server")
	}
	if err := b.Consume(ctx, "reader", nil, &registryv1.AppDeleted{}); err != nil {
		t.Errorf("Consume() = %v, want nil at its context's end", err)
	}
}

func TestOnlyEventsHaveASubject(t *testing.T) {
	t.Parallel()
	if got, err := bus.Subject(&registryv1.AppDeleted{}); err != nil || got != "registry.app.deleted" {
		t.Errorf("Subject(AppDeleted) = %q, %v, want registry.app.deleted", got, err)
	}
	if got, err := bus.Subject(&busv1.LogBatch{}); err == nil {
		t.Errorf("Subject(LogBatch) = %q, want an error", got)
	}
}
