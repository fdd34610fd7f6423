package deployments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Steps of the health gate, as people are told of them.
const (
	stepStart     = "start of the %s"
	stepHandshake = "handshake with the MCP server"
	stepSSE       = "handshake with the MCP server by SSE"
	stepRoundTrip = "signal to the worker and back"
	stepSmoke     = "smoke call"
)

// AwaitHealthy waits for the version's processes, looks whether they work and records what
// they offer. It starts them when they are gone, since they end with this process.
func (s *steps) AwaitHealthy(ctx context.Context, in flow.Version) (flow.Health, error) {
	defer s.begin(ctx, in, "health")()
	wait, cancel := context.WithTimeout(ctx, s.health)
	defer cancel()
	if err := s.ensure(wait, in.VersionID); err != nil {
		failure, err := s.verdict(ctx, in, "launch", err)
		return flow.Health{Failure: failure}, err
	}
	began := time.Now()
	look, failure := s.await(wait, in)
	s.took(ctx, in, "start of the agent", began)
	if failure != nil || ctx.Err() != nil {
		return flow.Health{Failure: failure}, ctx.Err()
	}
	capture, failure, err := s.examine(wait, in, look)
	if failure != nil || err != nil || ctx.Err() != nil {
		return flow.Health{Failure: failure}, cmp.Or(ctx.Err(), err)
	}
	if failure, err := s.smoke(wait, in, look, capture); failure != nil || err != nil || ctx.Err() != nil {
		return flow.Health{Failure: failure}, cmp.Or(ctx.Err(), err)
	}
	if err := s.store.SetCapture(ctx, in.VersionID, capture); err != nil {
		return flow.Health{}, errors.New("the capture was not recorded")
	}
	s.failpoints.Hit(failpoint.Healthy)
	return flow.Health{Workflows: len(capture.Workflows) > 0, Replays: len(look.Worker.Replays)+look.Worker.Replaying > 0}, nil
}

// examine has the version's processes do what they are there for, and tells what they
// offer. Nobody is sent to them yet.
func (s *steps) examine(ctx context.Context, in flow.Version, look Look) (store.Capture, *flow.Failure, error) {
	capture, err := s.prober.Capture(ctx, look.ServerURL)
	step := stepHandshake
	if capture = reported(capture, look.Server); err == nil && servesSSE(capture.Kind) {
		err, step = s.prober.GreetSSE(ctx, look.ServerURL), stepSSE
	}
	if err != nil {
		s.log.WarnContext(ctx, "handshake with an agent did not work", "target", in.TargetID, "version", in.VersionID, "error", err)
		return capture, s.failed(in, agentenv.RoleServer, flow.Failure{
			Reason: "the app started, but its MCP server did not answer as it should: " + reason(err), Step: step,
		}), nil
	}
	if capture, err = s.withNodeWorkflows(ctx, in.VersionID, capture); err != nil {
		return capture, nil, err
	}
	if at := slices.IndexFunc(capture.Workflows, agentenv.OfTheCloud); at >= 0 {
		return capture, &flow.Failure{Reason: fmt.Sprintf("the workflow %q must have another name: those that begin so are the cloud's own", capture.Workflows[at])}, nil
	}
	failure, err := s.roundTrip(ctx, in, look.Worker)
	return capture, failure, err
}

// servesSSE says whether servers of a kind speak the older transport, too: those that our
// host serves do. Of others only streamable HTTP is asked for.
func servesSSE(kind string) bool {
	return kind == string(agentenv.KindMCPAgent) || kind == string(agentenv.KindFastMCP)
}

// reported adds to a capture what the host said, which knows what kind each name is.
func reported(c store.Capture, server Process) store.Capture {
	r := server.Report
	c.Kind, c.Workflows, c.SyncTools, c.AsyncTools = string(r.Kind), r.Workflows, r.Tools, r.AsyncTools
	if r.AppName != "" {
		c.AppName = r.AppName
	}
	return c
}

// await returns when server and worker are ready, or tells why they will not be.
func (s *steps) await(ctx context.Context, in flow.Version) (Look, *flow.Failure) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		look, known := s.runtime.Look(in.TargetID, in.VersionID)
		if role, p, failed := look.failed(); failed {
			return look, ended(role, p)
		}
		if !known {
			return look, &flow.Failure{Reason: "the app was stopped while it started"}
		}
		if ready(look) {
			return look, nil
		}
		select {
		case <-ctx.Done():
			return look, slow(look, s.health)
		case <-ticker.C:
		}
	}
}

// ended tells of a process that will not become ready.
func ended(role agentenv.Role, p Process) *flow.Failure {
	return &flow.Failure{Reason: p.Reason, Detail: p.Detail, Step: fmt.Sprintf(stepStart, role) + endOf(role, p)}
}

// endOf is what is known of how a process ended; empty: it did not.
func endOf(role agentenv.Role, p Process) string {
	var known []string
	if p.Exit != "" {
		known = append(known, fmt.Sprintf("the %s ended with %s", role, p.Exit))
	}
	if p.PeakMemory > 0 {
		known = append(known, fmt.Sprintf("up to %d MiB of memory", mebibytes(p.PeakMemory)))
	}
	if len(known) == 0 {
		return ""
	}
	return " (" + strings.Join(known, "; ") + ")"
}

// mebibytes rounds up.
func mebibytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// slow says which part did not become ready.
func slow(l Look, patience time.Duration) *flow.Failure {
	role := agentenv.RoleServer
	if l.Server.State == schedulerv1.AgentState_AGENT_STATE_READY {
		role = agentenv.RoleWorker
	}
	return &flow.Failure{
		Reason: fmt.Sprintf("the app's %s was not ready within %s; does it do long work while it starts (main.py while it is imported)?", role, patience),
		Detail: process(l, role).Output, Step: fmt.Sprintf(stepStart, role),
	}
}

// whileUp ends the context when the version's process will not become ready any more.
func (s *steps) whileUp(ctx context.Context, in flow.Version, role agentenv.Role) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if look, known := s.runtime.Look(in.TargetID, in.VersionID); !known || process(look, role).Failed {
				cancel()
			}
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// failed adds the last lines of the process that did not do as it should, and tells of its
// end when it has ended.
func (s *steps) failed(in flow.Version, role agentenv.Role, f flow.Failure) *flow.Failure {
	look, _ := s.runtime.Look(in.TargetID, in.VersionID)
	p := process(look, role)
	f.Step += endOf(role, p)
	if p.Output != "" {
		f.Detail = strings.TrimPrefix(f.Detail+"\nThe last lines of the "+string(role)+":\n"+p.Output, "\n")
	}
	return &f
}
