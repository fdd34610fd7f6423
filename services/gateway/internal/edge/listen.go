package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/framing"
)

const (
	headerBytes = 64 << 10
	idleLimit   = 2 * time.Minute
	// bindEvery retries a port that another program holds.
	bindEvery = 2 * time.Second
	stopLimit = 10 * time.Second
)

// newServer has no write limit: streams are open for days. Writes have limits of their own.
func (e *Edge) newServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: e.deps.Config.HeaderWait, MaxHeaderBytes: headerBytes, IdleTimeout: idleLimit}
}

// listenPorts keeps one listener per app that has a port of its own.
func (e *Edge) listenPorts(ctx context.Context) error {
	open := map[int]*http.Server{}
	defer func() {
		for _, server := range open {
			_ = server.Close()
		}
	}()
	for {
		changed := e.table.Changed()
		retry := e.reconcilePorts(ctx, open)
		var again <-chan time.Time
		if retry {
			again = time.After(bindEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		}
	}
}

// reconcilePorts opens and closes what the table asks for; retry says that a port
// was not to be had.
func (e *Edge) reconcilePorts(ctx context.Context, open map[int]*http.Server) (retry bool) {
	wanted := e.table.Ports()
	for port, server := range open {
		if wanted[port] == nil {
			_ = server.Close()
			delete(open, port)
		}
	}
	for port := range wanted {
		if open[port] != nil {
			continue
		}
		server, err := e.openPort(ctx, port)
		if err != nil {
			e.deps.Log.WarnContext(ctx, "an app's port is not to be had; trying again", "port", port, "error", err)
			retry = true
			continue
		}
		open[port] = server
	}
	return retry
}

func (e *Edge) openPort(ctx context.Context, port int) (*http.Server, error) {
	lis, err := listen(ctx, net.JoinHostPort(e.deps.Config.AppHost, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	server := e.newServer(e.atPort)
	go serve(ctx, e, server, lis)
	return server, nil
}

func serve(ctx context.Context, e *Edge, server *http.Server, lis net.Listener) {
	if err := framing.Serve(server, lis); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		e.deps.Log.ErrorContext(ctx, "a listener broke", "address", lis.Addr().String(), "error", err)
	}
}

// listenCallbacks serves what agents' workers phone home.
func (e *Edge) listenCallbacks(ctx context.Context) error {
	lis, err := listen(ctx, e.deps.Config.Callbacks)
	if err != nil {
		return fmt.Errorf("callback listener: %w", err)
	}
	server := e.newServer(e.callbacks)
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		_ = server.Shutdown(limited)
	})
	defer stop()
	if err := framing.Serve(server, lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("callback listener: %w", err)
	}
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", address)
}
