package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
)

const (
	defaultDrain = 20 * time.Second
	readyEvery   = 500 * time.Millisecond
	unreadyEvery = 50 * time.Millisecond
	readyLimit   = 5 * time.Second
)

// ServeOptions bound a room's stop.
type ServeOptions struct {
	// Drain is how long calls may take to finish at the end; zero means 20 s.
	Drain time.Duration
}

// Serve runs svc on lis until ctx ends, then drains it: health says NOT_SERVING
// first, the service drains, calls finish, background work stops.
func Serve(ctx context.Context, lis net.Listener, svc Service, env Env, opts ServeOptions) error {
	server := grpc.NewServer(rpc.ServerOptions(env.Log)...)
	state := health.NewServer()
	state.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING) // until the room has said otherwise
	healthv1.RegisterHealthServer(server, state)
	reflection.Register(server)
	room := mesh.NewRoom(server, rpc.UnaryInterceptor(env.Log))
	svc.Register(room)
	if env.Process != nil {
		env.Process.Join(env.Name, room)
	}

	// Background work outlives ctx by the drain, so that calls which still run find it.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	group, failed := errgroup.WithContext(work)
	group.Go(func() error { return server.Serve(lis) })
	group.Go(func() error { return runGuarded(work, svc) })
	group.Go(func() error { watchReady(work, svc, state, env.Log); return nil })
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-failed.Done():
		}
		drain(svc, server, room, state, env, max(opts.Drain, 0))
		stopWork()
		return nil
	})
	err := group.Wait()
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// runGuarded makes an early end and a panic of the background work an error.
func runGuarded(ctx context.Context, svc Service) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("background work panicked: %v\n%s", p, debug.Stack())
		}
	}()
	err = svc.Run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		return errors.New("background work ended by itself")
	}
	return fmt.Errorf("background work: %w", err)
}

func drain(svc Service, server *grpc.Server, room *mesh.Room, state *health.Server, env Env, limit time.Duration) {
	if limit == 0 {
		limit = defaultDrain
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.Shutdown()
	if d, ok := svc.(Drainer); ok {
		if err := d.Drain(ctx); err != nil {
			env.Log.WarnContext(ctx, "drain is not complete", "error", err)
		}
	}
	stopped := make(chan struct{})
	go func() {
		room.Leave(ctx)
		server.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		server.Stop()
		<-stopped
	}
}

// tellAfter is how long a room may be unready before its log says why: starts take
// their time.
const tellAfter = 3 * time.Second

// watchReady keeps the health answer true to the service's own word.
func watchReady(ctx context.Context, svc Service, state *health.Server, log *slog.Logger) {
	said, since := "", time.Now()
	for {
		err, next := readiness(ctx, svc), unreadyEvery
		switch {
		case err == nil:
			next = readyEvery
			state.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
			said, since = "", time.Now()
		default:
			state.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
			if why := err.Error(); why != said && time.Since(since) > tellAfter && ctx.Err() == nil {
				log.WarnContext(ctx, "not ready", "error", err)
				said = why
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}
