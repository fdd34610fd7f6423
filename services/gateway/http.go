package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/framing"
)

const (
	headerLimit = 10 * time.Second
	idleLimit   = 2 * time.Minute
	headerBytes = 64 << 10
	stopLimit   = 10 * time.Second
)

// ServeHTTP gives a request to the app that its host names, or to the platform's paths.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if app, ok := r.edge.Handler(hostname(req.Host)); ok {
		app.ServeHTTP(w, req)
		return
	}
	r.api.ServeHTTP(w, req)
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// serveHTTP has no write limit, since uploads, deploys and streams take long; each
// handler bounds itself.
func (r *room) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler: r, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: headerBytes,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if server.Shutdown(limited) != nil {
			_ = server.Close()
		}
	})
	err := framing.Serve(server, r.listening)
	if !stop() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP listener: %w", err)
	}
	return nil
}

// readyz answers probes at the address that people use.
func (r *room) readyz(w http.ResponseWriter, req *http.Request) {
	if err := r.Ready(req.Context()); err != nil {
		http.Error(w, "not ready: "+fault.Message(err), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// welcome tells a person with a browser where they are.
func welcome(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if req.URL.Path != "/" {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = w.Write([]byte("MCP Agent Cloud\n\n  /api/openapi.json  the API\n  /api/auth/signin   sign in and get an API key\n  /healthz, /readyz  probes\n"))
}
