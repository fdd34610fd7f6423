package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const (
	probeLimit      = 5 * time.Second
	maxProbeHeaders = 16 << 10
)

// probes answers health checks that speak HTTP, from before the room is built until
// after it has drained.
type probes struct {
	mu    sync.Mutex
	ready func(context.Context) error // nil while the room starts or drains
}

func (p *probes) serving(ready func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = ready
}

// readiness asks the room.
func (p *probes) readiness(ctx context.Context) error {
	p.mu.Lock()
	ready := p.ready
	p.mu.Unlock()
	if ready == nil {
		return fault.Unavailable.Errorf("starting or draining")
	}
	return ready(ctx)
}

func (p *probes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := p.readiness(r.Context()); err != nil {
			http.Error(w, "not ready: "+fault.Message(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return mux
}

// start listens on address, or nowhere when it is empty, and returns how to stop.
func (p *probes) start(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	var config net.ListenConfig
	lis, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("service.health: %w", err)
	}
	server := &http.Server{
		Handler: p.handler(), ReadHeaderTimeout: probeLimit, ReadTimeout: probeLimit, WriteTimeout: 2 * probeLimit,
		IdleTimeout: time.Minute, MaxHeaderBytes: maxProbeHeaders,
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	return func() { _ = server.Close(); <-done }, nil
}

// readiness is the room's own word, or that of its bus when it has none.
func readiness(ctx context.Context, svc Service) error {
	r, ok := svc.(Readier)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	err := r.Ready(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fault.Unavailable.Wrap(err, "the room did not say within %v whether it is ready", readyLimit)
	}
	return err
}
