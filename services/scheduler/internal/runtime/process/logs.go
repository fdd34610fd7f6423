package process

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

const (
	maxWaiting  = 10_000
	maxBatch    = 500
	maxBytes    = 1 << 20 // of one batch
	flushEvery  = 200 * time.Millisecond
	publishTry  = 5 * time.Second
	publishRest = 500 * time.Millisecond
	closeLimit  = 5 * time.Second
)

// logs carries the lines of one version to where they are kept. An agent never waits
// for it: when too many lines wait, new ones are dropped and counted.
type logs struct {
	options Options
	launch  deployments.Launch

	mu      sync.Mutex
	waiting []*busv1.LogLine
	dropped int64
	closing bool

	wake chan struct{}
	done chan struct{}
	ctx  context.Context //nolint:containedctx // its end ends the goroutine
	end  context.CancelFunc
}

func newLogs(options Options, launch deployments.Launch) *logs {
	launch.Document = agentenv.Launch{InstanceID: launch.Document.InstanceID} // no secrets here
	ctx, end := context.WithCancel(context.Background())
	l := &logs{options: options, launch: launch, wake: make(chan struct{}, 1), done: make(chan struct{}), ctx: ctx, end: end}
	go l.run()
	return l
}

var levels = map[string]busv1.LogLevel{
	agentenv.LevelDebug: busv1.LogLevel_LOG_LEVEL_DEBUG, agentenv.LevelInfo: busv1.LogLevel_LOG_LEVEL_INFO,
	agentenv.LevelWarning: busv1.LogLevel_LOG_LEVEL_WARNING, agentenv.LevelError: busv1.LogLevel_LOG_LEVEL_ERROR,
	agentenv.LevelCritical: busv1.LogLevel_LOG_LEVEL_CRITICAL,
}

// agent takes a line that the agent wrote.
func (l *logs) agent(role agentenv.Role, line agentenv.LogLine) {
	source := busv1.LogSource_LOG_SOURCE_SERVER
	if role != agentenv.RoleServer {
		source = busv1.LogSource_LOG_SOURCE_WORKER
	}
	l.take(source, line)
}

// take takes a line of any process.
func (l *logs) take(source busv1.LogSource, line agentenv.LogLine) {
	out := &busv1.LogLine{
		Time: timestamppb.New(line.TS), Level: levels[line.Level], Logger: line.Logger, Message: line.Msg, Source: source, RunId: line.RunID,
	}
	if fields := fields(line); len(fields) > 0 {
		if raw, err := json.Marshal(fields); err == nil {
			out.FieldsJson = string(raw)
		}
	}
	l.add(out)
}

// sidecar takes a line that a sidecar wrote.
func (l *logs) sidecar(line agentenv.LogLine) { l.take(busv1.LogSource_LOG_SOURCE_SIDECAR, line) }

func fields(line agentenv.LogLine) map[string]any {
	all := map[string]any{}
	for name, value := range line.Fields {
		all[name] = value
	}
	if line.WorkflowID != "" {
		all["workflow_id"] = line.WorkflowID
	}
	if line.Activity != "" {
		all["activity"], all["attempt"] = line.Activity, line.Attempt
	}
	return all
}

// platform takes a line of ours about the agent.
func (l *logs) platform(level busv1.LogLevel, text string) {
	l.add(&busv1.LogLine{
		Time: timestamppb.New(l.options.Now()), Level: level, Logger: "agentcloud", Message: text, Source: busv1.LogSource_LOG_SOURCE_PLATFORM,
	})
}

func (l *logs) add(line *busv1.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || len(l.waiting) >= maxWaiting {
		l.dropped++
		return
	}
	line.LineId, line.VersionId, line.InstanceId = l.options.NewLineID(), l.launch.VersionID, l.launch.Document.InstanceID
	line.DroppedBefore, l.dropped = l.dropped, 0
	if l.waiting = append(l.waiting, line); len(l.waiting) >= maxBatch {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// run publishes what waits, at the latest after flushEvery.
func (l *logs) run() {
	defer close(l.done)
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
		case <-ticker.C:
		}
		for l.publish() {
		}
		if l.finished() {
			return
		}
	}
}

func (l *logs) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing && len(l.waiting) == 0
}

// publish stores one batch, however often it must try; true when more may wait.
func (l *logs) publish() bool {
	l.mu.Lock()
	n, size := 0, 0
	for n < min(len(l.waiting), maxBatch) && (n == 0 || size < maxBytes) {
		size += len(l.waiting[n].GetMessage()) + len(l.waiting[n].GetFieldsJson())
		n++
	}
	batch := &busv1.LogBatch{TargetId: l.launch.TargetID, OrgId: l.launch.OrgID, Lines: l.waiting[:n:n]}
	l.mu.Unlock()
	if n == 0 {
		return false
	}
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, publishTry)
		err := l.options.Publish(ctx, batch)
		cancel()
		if err == nil {
			l.mu.Lock()
			l.waiting = l.waiting[n:]
			l.mu.Unlock()
			return true
		}
		select {
		case <-l.ctx.Done():
		case <-time.After(publishRest):
		}
	}
	return false
}

// close stores what waits, within a bound.
func (l *logs) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	select {
	case <-l.done:
	case <-time.After(closeLimit):
		l.options.Log.Warn("log lines of an agent were not stored", "target", l.launch.TargetID)
	}
	l.end()
}
