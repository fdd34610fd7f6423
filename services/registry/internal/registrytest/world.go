// Package registrytest serves the registry's contracts on a real socket over a real
// database, among neighbours that do as a test tells them.
package registrytest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/access"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/accounts"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/limits"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// Domain is where the apps of a World answer.
const Domain = "apps.test"

// World is a registry with its neighbours.
type World struct {
	Apps     registryv1.AppsServiceClient
	Versions registryv1.VersionsServiceClient
	Rollouts registryv1.RolloutsServiceClient
	Accounts registryv1.AccountsServiceClient
	Access   registryv1.AccessServiceClient
	Limits   registryv1.LimitsServiceClient
	// Service is what is behind Apps.
	Service   *apps.Service
	Scheduler *Scheduler
	// Moves is the scheduler's part that moves apps between versions.
	Moves *Versions
	// Trials is its part that tries them.
	Trials  *Rollouts
	Secrets *Secrets
	Clock   *Clock
	// Admin administers the organisation that every World has.
	Admin principal.Principal

	db *sqldb.DB
}

// New returns a World on an empty database.
func New(t *testing.T, db *sqldb.DB) *World {
	t.Helper()
	w := &World{db: db, Scheduler: &Scheduler{}, Secrets: &Secrets{}, Clock: &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	w.Moves = &Versions{Scheduler: w.Scheduler, Facts: map[string]*schedulerv1.VersionFacts{}}
	w.Trials = &Rollouts{}
	dir := grpctest.SocketDir(t)
	grpctest.ServeAt(t, dir, "scheduler", func(s grpc.ServiceRegistrar) {
		schedulerv1.RegisterDeploymentsServiceServer(s, w.Scheduler)
		schedulerv1.RegisterVersionsServiceServer(s, w.Moves)
		schedulerv1.RegisterRolloutsServiceServer(s, w.Trials)
	})
	grpctest.ServeAt(t, dir, "secretsbroker", func(s grpc.ServiceRegistrar) { secretsv1.RegisterSecretsServiceServer(s, w.Secrets) })
	rows := store.New(db)
	people := accounts.NewService(accounts.Deps{Store: rows, Now: w.Clock.Now})
	scheduler := grpctest.Dial(t, dir, "scheduler")
	w.Service = apps.NewService(apps.Deps{
		Store: rows, Scheduler: schedulerv1.NewDeploymentsServiceClient(scheduler), Versions: schedulerv1.NewVersionsServiceClient(scheduler),
		Rollouts: schedulerv1.NewRolloutsServiceClient(scheduler),
		Secrets:  secretsv1.NewSecretsServiceClient(grpctest.Dial(t, dir, "secretsbroker")),
		Places:   apps.Places{Scheme: "https", Domain: Domain}, Log: grpctest.Logger(t), Now: w.Clock.Now, Changed: apps.NewBroadcast(),
	})
	conn := grpctest.Serve(t, func(s grpc.ServiceRegistrar) {
		registryv1.RegisterAppsServiceServer(s, w.Service)
		registryv1.RegisterVersionsServiceServer(s, w.Service)
		registryv1.RegisterRolloutsServiceServer(s, w.Service)
		registryv1.RegisterAccountsServiceServer(s, people)
		registryv1.RegisterAccessServiceServer(s, access.NewService(rows))
		registryv1.RegisterLimitsServiceServer(s, limits.NewService(limits.Deps{Store: rows, Now: w.Clock.Now, Changed: apps.NewBroadcast()}))
	})
	w.Rollouts = registryv1.NewRolloutsServiceClient(conn)
	w.Versions = registryv1.NewVersionsServiceClient(conn)
	w.Limits = registryv1.NewLimitsServiceClient(conn)
	w.Apps, w.Accounts, w.Access = registryv1.NewAppsServiceClient(conn), registryv1.NewAccountsServiceClient(conn), registryv1.NewAccessServiceClient(conn)
	w.Admin = w.bootstrap(t, people)
	return w
}

func (w *World) bootstrap(t *testing.T, people *accounts.Service) principal.Principal {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.json")
	if err := people.Bootstrap(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return w.Who(t, KeyIn(t, file))
}

// Who is the principal behind a key.
func (w *World) Who(t *testing.T, key string) principal.Principal {
	t.Helper()
	res, err := w.Accounts.Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: key})
	if err != nil {
		t.Fatal(err)
	}
	u := res.GetUser()
	return principal.Principal{
		Kind: principal.User, UserID: u.GetUserId(), OrgID: u.GetOrgId(), KeyID: res.GetKeyId(),
		Name: u.GetName(), Email: u.GetEmail(), Admin: u.GetAdmin(),
	}
}

// User adds a user to the World's organisation.
func (w *World) User(t *testing.T, name string) principal.Principal {
	t.Helper()
	return w.add(t, &registryv1.CreateUserRequest{Name: name, Email: name + "@example.com"})
}

// Stranger adds a user of an organisation of their own.
func (w *World) Stranger(t *testing.T, name string) principal.Principal {
	t.Helper()
	return w.add(t, &registryv1.CreateUserRequest{Name: name, Email: name + "@example.org", NewOrgName: name + "'s"})
}

func (w *World) add(t *testing.T, req *registryv1.CreateUserRequest) principal.Principal {
	t.Helper()
	res, err := w.Accounts.CreateUser(As(t, w.Admin), req)
	if err != nil {
		t.Fatal(err)
	}
	return w.Who(t, res.GetApiKey())
}

// As is a context in which p calls.
func As(t *testing.T, p principal.Principal) context.Context {
	t.Helper()
	return principal.With(t.Context(), p)
}

// Events are the events in the outbox, oldest first, of the types of those given.
func (w *World) Events(t *testing.T, kinds ...proto.Message) []proto.Message {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT subject, payload FROM outbox ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var all []proto.Message
	for rows.Next() {
		var subject string
		var payload []byte
		if err := rows.Scan(&subject, &payload); err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if at, _ := bus.Subject(kind); at == subject {
				event := kind.ProtoReflect().New().Interface()
				if err := proto.Unmarshal(payload, event); err != nil {
					t.Fatal(err)
				}
				all = append(all, event)
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Count is how many rows a table has.
func (w *World) Count(t *testing.T, table string) int {
	t.Helper()
	var n int
	if err := w.db.QueryRow(t.Context(), fmt.Sprintf("SELECT COUNT(*) FROM %s", table)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Holds says whether some column of a table has a text in it.
func (w *World) Holds(t *testing.T, table, text string) bool {
	t.Helper()
	rows, err := w.db.Query(t.Context(), fmt.Sprintf("SELECT * FROM %s", table))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	cells, row := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		row[i] = &cells[i]
	}
	found := false
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(fmt.Sprintf("%s", cells), text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// Clock tells a new millisecond at each look, so that rows have an order.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

// Pass lets time pass.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
