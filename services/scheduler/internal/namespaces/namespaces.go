// Package namespaces gives a Temporal client for each organisation, whose id is
// the name of its namespace, and makes the namespace when it is not there yet.
//
// It connects lazily: the scheduler starts and stays up while Temporal is away.
package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
)

// readyWithin bounds the wait for a new namespace, which Temporal's own caches
// take a second or two to see.
const readyWithin = 30 * time.Second

// Redial is how soon Temporal is dialled again that has not answered: it is near, and
// whoever calls meanwhile is refused.
var Redial = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// Config says where Temporal is.
type Config struct {
	// Address is host:port of the frontend.
	Address string
	// Retention is how long closed runs are kept.
	Retention time.Duration
	Log       *slog.Logger
}

// Directory holds the clients.
type Directory struct {
	cfg  Config
	base client.Client

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is one namespace; its lock makes the first user do the work for all.
type entry struct {
	mu     sync.Mutex
	client client.Client
}

// New returns a Directory; it does not connect yet.
func New(cfg Config) (*Directory, error) {
	base, err := client.NewLazyClient(options(cfg, flow.SystemNamespace))
	if err != nil {
		return nil, fmt.Errorf("prepare client for Temporal at %s: %w", cfg.Address, err)
	}
	return &Directory{cfg: cfg, base: base, entries: map[string]*entry{}}, nil
}

func options(cfg Config, namespace string) client.Options {
	return client.Options{
		HostPort: cfg.Address, Namespace: namespace, Identity: "agentcloud-scheduler",
		Logger:                  log.NewStructuredLogger(cfg.Log),
		WorkerHeartbeatInterval: -1, // nobody reads them
		ConnectionOptions: client.ConnectionOptions{
			DialOptions: []grpc.DialOption{
				grpc.WithChainUnaryInterceptor(headroom.Start), grpc.WithConnectParams(Redial),
			},
			// It is near: to make a message smaller takes longer than to send it.
			GrpcCompression: &client.GrpcCompressionNone{},
		},
	}
}

// Close ends all connections.
func (d *Directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if e.client != nil {
			e.client.Close()
		}
	}
	d.base.Close()
}

// Check fails while Temporal does not answer.
func (d *Directory) Check(ctx context.Context) error {
	if _, err := d.base.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return Fault(err, "Temporal at "+d.cfg.Address+" does not answer")
	}
	return nil
}

// System returns the client of the scheduler's own namespace.
func (d *Directory) System(ctx context.Context) (client.Client, error) {
	return d.Client(ctx, flow.SystemNamespace)
}

// Client returns the client of a namespace, which it makes when it is new.
func (d *Directory) Client(ctx context.Context, namespace string) (client.Client, error) {
	e := d.entry(namespace)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		return e.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := d.ensure(ctx, namespace); err != nil {
		return nil, Fault(err, "Temporal is not ready for this organisation yet")
	}
	c, err := client.NewClientFromExistingWithContext(ctx, d.base, options(d.cfg, namespace))
	if err != nil {
		return nil, Fault(err, "Temporal does not answer")
	}
	e.client = c
	return c, nil
}

func (d *Directory) entry(namespace string) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[namespace]
	if e == nil {
		e = &entry{}
		d.entries[namespace] = e
	}
	return e
}

// Forget makes the next use look again whether the namespace is there, for when
// Temporal says that it is not.
func (d *Directory) Forget(namespace string) {
	e := d.entry(namespace)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.client = nil // other users may still hold it, and it shares the connection
}

// ensure makes the namespace and its search attributes, and waits until both can be used.
func (d *Directory) ensure(ctx context.Context, namespace string) error {
	_, err := d.base.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(d.cfg.Retention),
		Description: "agents of an organisation of MCP Agent Cloud",
	})
	var exists *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("register namespace: %w", err)
	}
	return retry(ctx, func() error { return d.ensureAttributes(ctx, namespace) })
}

// retry calls f until it works or ctx ends.
func retry(ctx context.Context, f func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}
