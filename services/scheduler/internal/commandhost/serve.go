package commandhost

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

const (
	// mcpPath is where the cloud calls an agent.
	mcpPath = "/mcp"
	// defaultPatience is how long a program may take to answer for the first time.
	defaultPatience = 2 * time.Minute
	defaultDrain    = 20 * time.Second
	headerLimit     = 10 * time.Second
)

// program is a server that was started.
type program interface {
	http.Handler
	// introduce waits until the program has answered once, and tells what it says of itself.
	introduce(ctx context.Context) (hello, error)
	// ended is closed when the program has ended for good, which only one that speaks HTTP does.
	ended() <-chan struct{}
	// close ends all of it and returns its exit code.
	close() int
	// words are the last lines of what it has said.
	words() string
}

// serve runs the program until ctx ends or it does, and returns the exit code.
func serve(ctx context.Context, launch agentenv.Launch, lis net.Listener, out *output) int {
	out.tell(agentenv.Status{State: agentenv.StateStarting})
	began := time.Now()
	// Streams without an end of their own end with going, when calls may still go on.
	going, stop := context.WithCancel(ctx)
	defer stop()
	p, err := begin(going, launch, out)
	if err != nil {
		return out.failed(err, "")
	}
	patience := cmp.Or(time.Duration(launch.ImportTimeoutSeconds)*time.Second, defaultPatience)
	first, cancel := context.WithTimeout(ctx, patience)
	about, err := p.introduce(first)
	cancel()
	if err != nil {
		p.close()
		if ctx.Err() != nil {
			return agentenv.ExitDone
		}
		return out.failed(err, p.words())
	}
	server := &http.Server{Handler: routes(p), ReadHeaderTimeout: headerLimit}
	go server.Serve(lis) //nolint:errcheck // it ends when we close it
	status := agentenv.Status{
		State: agentenv.StateReady, Kind: launch.Program.Kind, AppName: about.Name, Instructions: about.Instructions,
		HostMS: time.Since(began).Milliseconds(),
	}
	if launch.Program.Worker != nil {
		status.Workflows = launch.Program.Worker.Workflows
	}
	out.tell(status)
	select {
	case <-ctx.Done():
	case <-p.ended():
		_ = server.Close()
		return p.close()
	}
	out.tell(agentenv.Status{State: agentenv.StateDraining})
	drain(server, cmp.Or(time.Duration(launch.DrainSeconds)*time.Second, defaultDrain))
	p.close()
	return agentenv.ExitDone
}

// begin prepares the program in the way in which it speaks.
func begin(going context.Context, launch agentenv.Launch, out *output) (program, error) {
	if len(launch.Program.Args) == 0 {
		return newNobody(launch.AppName), nil
	}
	s := starter{args: launch.Program.Args, dir: launch.AppDir, env: environ(os.Environ(), launch), out: out}
	if image := launch.Program.Image; image != nil {
		var err error
		if s.containers, err = newContainers(*image); err != nil {
			return nil, err
		}
	}
	if launch.Program.Transport == agentenv.TransportHTTP {
		return beginHTTP(s, cmp.Or(launch.Program.HTTPPath, mcpPath))
	}
	return beginStdio(going, s, launch.Program.Sessions), nil
}

// environ is what a program finds in its environment. It has no other way to get secrets.
func environ(ours []string, launch agentenv.Launch) []string {
	env := slices.Clone(ours)
	if launch.Program.Image != nil {
		env = nil // an image has its own
	}
	for i, pair := range env {
		if path, ok := strings.CutPrefix(pair, "PATH="); ok && len(launch.Program.Path) > 0 {
			env[i] = "PATH=" + strings.Join(launch.Program.Path, ":") + ":" + path
		}
	}
	for _, more := range []map[string]string{launch.Program.Env, launch.Env} {
		for name, value := range more {
			env = append(env, name+"="+value) // of two the last one counts
		}
	}
	return env
}

func routes(p http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+agentenv.HealthPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"ready":true}`))
	})
	mux.Handle(mcpPath, p)
	return mux
}

// drain lets open calls end. New connections wait at the socket for who comes next.
func drain(server *http.Server, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = server.Close()
	}
}
