// Package service is what every room's process does the same way: settings in,
// listeners up, health told, work run, calls drained, exit.
package service

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// A Service is one room.
type Service interface {
	// Register serves the room's contracts.
	Register(registrar grpc.ServiceRegistrar)
	// Run does the background work. It returns nil when ctx ends, and an error only
	// when the process cannot go on.
	Run(ctx context.Context) error
}

// A Readier is a Service that knows when it cannot do its work.
type Readier interface {
	// Ready returns nil when calls can be answered, else a sentence why not.
	Ready(ctx context.Context) error
}

// A Drainer is a Service with work of its own to finish before the listener stops.
type Drainer interface {
	// Drain finishes or hands over; ctx bounds it.
	Drain(ctx context.Context) error
}

// Env is what the outside gives a room. Nothing else differs between one process on
// a laptop and six in a cluster.
type Env struct {
	// Name of the room, for example "registry".
	Name string
	// Log is the room's logger.
	Log *slog.Logger
	// Mesh finds the neighbours.
	Mesh *mesh.Dialer
	// Process has the neighbours that run in this process, too; nil: there are none.
	Process *mesh.Process
	// Bus carries facts.
	Bus *bus.Bus
	// OpenDB opens the room's own database and brings it up to migrations.
	OpenDB func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error)
	// DataDir is the room's own folder for files.
	DataDir string
	// Now tells the time.
	Now func() time.Time
}

// A Constructor builds a room from its settings and its environment.
type Constructor[C any] func(ctx context.Context, cfg C, env Env) (Service, error)
