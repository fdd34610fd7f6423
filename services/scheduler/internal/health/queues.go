package health

import (
	"context"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// lane is one kind of task in one queue of a live version.
type lane struct {
	targetID, orgID, versionID, queue string
	activities                        bool
}

func (l lane) kind() string {
	if l.activities {
		return "activity"
	}
	return "step"
}

// role is whose tasks they are.
func (l lane) role() agentenv.Role {
	if l.queue == agentenv.TaskQueue(l.targetID) {
		return agentenv.RoleWorker
	}
	return agentenv.RoleServer
}

// lanesOf are those of a target's live version.
func lanesOf(t store.Target) []lane {
	return []lane{
		{t.ID, t.OrgID, t.Live, agentenv.TaskQueue(t.ID), false},
		{t.ID, t.OrgID, t.Live, agentenv.TaskQueue(t.ID), true},
		{t.ID, t.OrgID, t.Live, agentenv.ToolsQueue(t.ID, t.Live), true},
	}
}

// gauge is what is known of a lane.
type gauge struct {
	// polled is when its workers last asked for a task, or when it was first seen.
	polled time.Time
	// due is when its length is to be read.
	due time.Time
	// asleep says that its workers sleep: who wakes them looks at it.
	asleep bool
	// deserted says that it was without a worker for too long at the last look.
	deserted bool
	lengths  []reading
	// found is what was wrong at the last reading: its key's reason, and words.
	found []symptom
}

type reading struct {
	at     time.Time
	length int64
}

// queues looks at the queues of live versions: who asks for their tasks, which passes
// the edge, and how long some are, which Temporal is asked for.
func (s *Service) queues(ctx context.Context, f *findings, kept []store.Condition) error {
	targets, err := s.deps.Store.Targets(ctx)
	if err != nil {
		return err
	}
	sleepers, err := s.deps.Store.Sleepers(ctx)
	if err != nil {
		return err
	}
	asleep := map[sleeper]bool{}
	for _, one := range sleepers {
		asleep[sleeper{one.VersionID, one.Role}] = true
	}
	now := s.deps.Now()
	gauges := map[lane]*gauge{}
	for _, t := range targets {
		if t.Live == "" || t.Removing {
			continue
		}
		for _, l := range lanesOf(t) {
			g, sleeps := s.gauges[l], asleep[sleeper{l.versionID, l.role()}]
			if g == nil || sleeps {
				g = &gauge{polled: now, due: now.Add(s.deps.Limits.Sample), asleep: sleeps}
			}
			g.asleep = sleeps
			gauges[l] = g
		}
	}
	s.gauges = gauges
	failed := s.measure(ctx, now)
	s.report(f, kept)
	return failed
}

// sleeper is a role of a version that sleeps.
type sleeper struct {
	versionID string
	role      agentenv.Role
}

// measure reads the lengths that are due, those of deserted queues first.
func (s *Service) measure(ctx context.Context, now time.Time) error {
	var due []lane
	for l, g := range s.gauges {
		if last := s.deps.Watch.lastPoll(l.versionID, l.queue, l.activities); last.After(g.polled) {
			g.polled = last
		}
		deserted := now.Sub(g.polled) >= s.deps.Limits.NoWorker
		if deserted != g.deserted {
			g.deserted, g.due = deserted, now
		}
		if !g.due.After(now) {
			due = append(due, l)
		}
	}
	slices.SortFunc(due, func(a, b lane) int { return s.gauges[a].due.Compare(s.gauges[b].due) })
	var failed error
	for _, l := range due[:min(len(due), queuesPerLook)] {
		g := s.gauges[l]
		length, err := s.length(ctx, l)
		if err != nil {
			failed = err
			continue
		}
		g.read(length, l, s.deps.Limits, now)
	}
	return failed
}

// length is how many tasks wait in a lane; a queue that Temporal does not know has none.
func (s *Service) length(ctx context.Context, l lane) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, l.orgID)
	if err != nil {
		return 0, err
	}
	kind := enumspb.TASK_QUEUE_TYPE_WORKFLOW
	if l.activities {
		kind = enumspb.TASK_QUEUE_TYPE_ACTIVITY
	}
	d, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: l.orgID, TaskQueue: &taskqueuepb.TaskQueue{Name: l.queue}, TaskQueueType: kind, ReportStats: true,
	})
	if namespaces.IsNotFound(err) {
		return 0, nil
	}
	return d.GetStats().GetApproximateBacklogCount(), err
}

// read takes a reading and judges by it and those before.
func (g *gauge) read(length int64, l lane, limits Limits, now time.Time) {
	if len(g.lengths) == 0 || now.Sub(g.lengths[len(g.lengths)-1].at) >= limits.Sample {
		g.lengths = append(g.lengths, reading{now, length})
		g.lengths = g.lengths[max(0, len(g.lengths)-limits.Growing):]
	}
	g.due, g.found = now.Add(limits.Sample), nil
	switch {
	case g.deserted && length > 0:
		g.due = now // until somebody comes
		g.found = []symptom{{NobodyPolls, queueWords(NobodyPolls, l.queue, l.kind(), length, now.Sub(g.polled))}}
	case grows(g.lengths, limits.Growing):
		g.found = []symptom{{OnlyGrows, queueWords(OnlyGrows, l.queue, l.kind(), length, now.Sub(g.lengths[0].at))}}
	}
}

// grows says whether a queue was never shorter than at the reading before, has become
// longer, and is long.
func grows(lengths []reading, over int) bool {
	if len(lengths) < over || over < 2 {
		return false
	}
	for i := 1; i < len(lengths); i++ {
		if lengths[i].length < lengths[i-1].length {
			return false
		}
	}
	first, last := lengths[0].length, lengths[len(lengths)-1].length
	return last > first && last >= leastBacklog
}

// typeOf is the condition's type of a queue's reason.
func typeOf(reason string) string {
	if reason == NobodyPolls {
		return NoWorker
	}
	return QueueGrowing
}

// report notes what the last readings say. What was kept of queues that no live version
// has is over.
func (s *Service) report(f *findings, kept []store.Condition) {
	for l, g := range s.gauges {
		for _, symptom := range g.found {
			key := store.ConditionKey{TargetID: l.targetID, Type: typeOf(symptom.reason), Reason: symptom.reason, Subject: l.queue}
			f.add(key, l.orgID, symptom.message, "")
		}
		if len(g.lengths) > 0 || g.asleep {
			f.looked[looked{l.targetID, NoWorker, l.queue}], f.looked[looked{l.targetID, QueueGrowing, l.queue}] = true, true
		}
	}
	for _, c := range kept {
		if (c.Type == NoWorker || c.Type == QueueGrowing) && !s.serves(c.TargetID, c.Subject) {
			f.looked[looked{c.TargetID, c.Type, c.Subject}] = true
		}
	}
}

func (s *Service) serves(targetID, queue string) bool {
	for l := range s.gauges {
		if l.targetID == targetID && l.queue == queue {
			return true
		}
	}
	return false
}
