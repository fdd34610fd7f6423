package artifact

import (
	"context"
	"time"

	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

// audience is a version whose log the lines go to.
type audience struct{ target, org, version string }

const (
	publishLimit = 10 * time.Second
	publishTries = 5
	maxBatch     = 500
)

// addresses says whether an audience is new to the build. Each is told once,
// however often it joins.
func (j *job) addresses(a audience) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	known := j.told[a]
	j.told[a] = true
	return !known
}

// publish follows the build to its end. A bus that is away for long costs lines of
// the log, never the build; the log's file has them all.
func (s *Service) publish(j *job, a audience) {
	// Not the build's context: its last lines are published after it has ended.
	ctx := context.WithoutCancel(s.stopped)
	for next := 0; ; {
		lines, after, done, err := j.wait(ctx, next)
		if err != nil {
			return
		}
		for len(lines) > 0 {
			n := min(len(lines), maxBatch)
			if !s.send(ctx, lines[:n], a) {
				return
			}
			lines = lines[n:]
		}
		if next = after; done {
			return
		}
	}
}

func (s *Service) send(ctx context.Context, lines []line, a audience) bool {
	batch := &busv1.LogBatch{TargetId: a.target, OrgId: a.org}
	for _, l := range lines {
		batch.Lines = append(batch.Lines, l.proto(a.version))
	}
	var err error
	for range publishTries {
		attempt, cancel := context.WithTimeout(ctx, publishLimit)
		err = s.deps.Publish(attempt, batch)
		cancel()
		if err == nil {
			return true
		}
		if s.stopped.Err() != nil {
			break
		}
	}
	s.deps.Log.WarnContext(ctx, "lines of a build are not published", "target", a.target, "version", a.version, "error", err)
	return false
}
