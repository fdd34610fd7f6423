package artifact

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

// maxKept bounds the lines that a build keeps for those who join late.
const maxKept = 20_000

// line is one line of a build's log.
type line struct {
	build string
	seq   int
	time  time.Time
	level busv1.LogLevel
	text  string
}

// proto is the line as a version's readers see it. Its id is the same whoever joins.
func (l line) proto(version string) *busv1.LogLine {
	return &busv1.LogLine{
		LineId: fmt.Sprintf("%s/%d/%s", l.build, l.seq, version), Time: timestamppb.New(l.time), Level: l.level,
		Logger: "builder", Message: l.text, Source: busv1.LogSource_LOG_SOURCE_BUILD, VersionId: version,
	}
}

// outcome is how a build ended: one of the three is set.
type outcome struct {
	artifact *builderv1.Artifact
	failure  *builderv1.BuildFailure
	err      error
}

// job is a build that runs, and all who listen to it.
type job struct {
	id      string
	now     func() time.Time
	cancel  context.CancelCauseFunc
	abandon time.Duration

	mu      sync.Mutex
	lines   []line
	changed chan struct{} // closed at the next change
	readers int
	idle    *time.Timer
	told    map[audience]bool
	over    bool
	end     outcome
}

func newJob(id string, now func() time.Time, cancel context.CancelCauseFunc, abandon time.Duration) *job {
	return &job{id: id, now: now, cancel: cancel, abandon: abandon, changed: make(chan struct{}), readers: 1, told: map[audience]bool{}}
}

// run does the work and gives everybody the end, a panic's too.
func (j *job) run(work func() outcome) {
	end := outcome{err: errors.New("the build ended without an answer")}
	defer func() {
		if p := recover(); p != nil {
			end = outcome{err: fmt.Errorf("build panicked: %v\n%s", p, debug.Stack())}
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.end, j.over = end, true
		j.wake()
	}()
	end = work()
}

// say adds a line.
func (j *job) say(level busv1.LogLevel, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) >= maxKept {
		return
	}
	j.lines = append(j.lines, line{build: j.id, seq: len(j.lines), time: j.now(), level: level, text: text})
	j.wake()
}

func (j *job) wake() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// enter adds a listener, unless the build is over: its answer may be stale by then.
func (j *job) enter() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	j.readers++
	if j.idle != nil {
		j.idle.Stop()
	}
	return true
}

var errAbandoned = errors.New("nobody listens to the build any more")

// leave takes a listener away. A build that nobody listens to is killed after a
// while: long enough for a caller that lost its connection to come back.
func (j *job) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.readers--; j.readers > 0 || j.over {
		return
	}
	j.idle = time.AfterFunc(j.abandon, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.readers == 0 {
			j.cancel(errAbandoned)
		}
	})
}

// wait returns the lines from next on, waiting for one or for the end.
func (j *job) wait(ctx context.Context, next int) (lines []line, after int, done bool, err error) {
	for {
		j.mu.Lock()
		lines, done = j.lines[next:], j.over
		changed := j.changed
		j.mu.Unlock()
		if len(lines) > 0 || done {
			return lines, next + len(lines), done, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, next, false, ctx.Err()
		}
	}
}

// answer sends the end.
func (j *job) answer(stream grpc.ServerStreamingServer[builderv1.BuildResponse]) error {
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	switch {
	case end.err != nil:
		return end.err
	case end.failure != nil:
		return stream.Send(&builderv1.BuildResponse{Event: &builderv1.BuildResponse_Failure{Failure: end.failure}})
	}
	return stream.Send(&builderv1.BuildResponse{Event: &builderv1.BuildResponse_Artifact{Artifact: end.artifact}})
}
