// Package health finds out what is wrong with workflows: runs that do not get on,
// queues that nobody empties, workflows that are slow or fail.
//
// It suspects by what passes the edge and by what is written down of runs, and asks
// Temporal only about suspects. It changes no run.
package health

import (
	"hash/maphash"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
)

// Bounds of what a Watch remembers. Beyond them something else is forgotten, which costs
// a suspicion and no more.
const (
	mostPolls      = 20_000
	mostSuspects   = 2_000
	mostActivities = 20_000
)

// Watch remembers what passes the edge, as far as it shows how workers and runs are.
type Watch struct {
	now  func() time.Time
	seed maphash.Seed

	mu         sync.Mutex
	polls      map[pollKey]poll
	suspects   map[string]suspect // by run id
	activities map[uint64]activity
}

var _ temporaledge.Watch = (*Watch)(nil)

// pollKey is what the workers of one version wait on.
type pollKey struct {
	versionID, queue string
	activities       bool
}

type poll struct {
	waiting int
	last    time.Time
}

// suspect is a run that may be stuck.
type suspect struct {
	runRef

	// since is when a step first failed; zero: none did, as far as is known.
	since time.Time
	// why is what its worker said of that.
	why string
	// reason is the kind of that: StepFails or NotDeterministic.
	reason string
}

type runRef struct{ targetID, orgID, workflowID, runID string }

// activity is one that a worker has.
type activity struct {
	runRef

	alive time.Time
}

// NewWatch returns a Watch that knows nothing yet.
func NewWatch(now func() time.Time) *Watch {
	return &Watch{
		now: now, seed: maphash.MakeSeed(),
		polls: map[pollKey]poll{}, suspects: map[string]suspect{}, activities: map[uint64]activity{},
	}
}

// PollBegan implements temporaledge.Watch, as do the following.
func (w *Watch) PollBegan(who *store.Instance, queue string, activities bool) {
	w.polled(pollKey{who.VersionID, queue, activities}, 1)
}

// PollEnded is the other end.
func (w *Watch) PollEnded(who *store.Instance, queue string, activities bool) {
	w.polled(pollKey{who.VersionID, queue, activities}, -1)
}

func (w *Watch) polled(k pollKey, more int) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	p, known := w.polls[k]
	if !known && len(w.polls) >= mostPolls {
		evict(w.polls, func(p poll) bool { return p.waiting == 0 })
	}
	w.polls[k] = poll{waiting: max(0, p.waiting+more), last: now}
}

// evict makes room in a full map by one entry that may go, of the first few.
func evict[K comparable, V any](m map[K]V, may func(V) bool) {
	const few = 16
	looked := 0
	for k, v := range m {
		if looked++; may(v) || looked == few {
			delete(m, k)
			return
		}
	}
}

// StepTaken suspects the run of a step that is tried again.
func (w *Watch) StepTaken(who *store.Instance, workflowID, runID string, attempt int32) {
	if attempt > 1 {
		w.suspect(suspect{runRef: runRef{who.TargetID, who.OrgID, workflowID, runID}, since: w.now()})
	}
}

// StepFailed suspects its run, and knows why.
func (w *Watch) StepFailed(who *store.Instance, workflowID, runID string, cause enumspb.WorkflowTaskFailedCause, why *failurepb.Failure) {
	w.suspect(suspect{
		runRef: runRef{who.TargetID, who.OrgID, workflowID, runID}, since: w.now(),
		why: firstLine(why.GetMessage()), reason: reasonOf(cause, why),
	})
}

// StepDone clears what is known of steps that failed.
func (w *Watch) StepDone(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.suspects[runID]; ok {
		w.suspects[runID] = suspect{runRef: s.runRef}
	}
}

// suspect adds what is known of a run to what was.
func (w *Watch) suspect(s suspect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.suspects[s.runID]
	if !ok && len(w.suspects) >= mostSuspects {
		evict(w.suspects, func(suspect) bool { return true })
	}
	if !known.since.IsZero() {
		s.since = known.since
	}
	if s.reason == "" {
		s.why, s.reason = known.why, known.reason
	}
	w.suspects[s.runID] = s
}

// ActivityTaken remembers who has an activity; one that is tried again makes its run a
// suspect.
func (w *Watch) ActivityTaken(who *store.Instance, workflowID, runID string, token []byte, attempt int32) {
	run := runRef{who.TargetID, who.OrgID, workflowID, runID}
	key, now := maphash.Bytes(w.seed, token), w.now()
	w.mu.Lock()
	if len(w.activities) >= mostActivities {
		evict(w.activities, func(activity) bool { return true })
	}
	w.activities[key] = activity{run, now}
	w.mu.Unlock()
	if attempt > 1 {
		w.suspect(suspect{runRef: run})
	}
}

// ActivityAlive notes a sign of life.
func (w *Watch) ActivityAlive(token []byte) {
	key, now := maphash.Bytes(w.seed, token), w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if a, ok := w.activities[key]; ok {
		a.alive = now
		w.activities[key] = a
	}
}

// ActivityOver forgets it.
func (w *Watch) ActivityOver(token []byte) {
	key := maphash.Bytes(w.seed, token)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.activities, key)
}

// take hands the suspects out, with the runs whose activities gave no sign of life since
// then. They are suspects again when something of them passes, or when something is
// found wrong with them.
func (w *Watch) take(silentSince time.Time, most int) []suspect {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, a := range w.activities {
		if a.alive.After(silentSince) {
			continue
		}
		if _, known := w.suspects[a.runID]; !known && len(w.suspects) < mostSuspects {
			w.suspects[a.runID] = suspect{runRef: a.runRef}
		}
		a.alive = w.now() // looked at again after as long
		w.activities[key] = a
	}
	taken := make([]suspect, 0, min(most, len(w.suspects)))
	for runID, s := range w.suspects {
		if len(taken) == most {
			break
		}
		taken = append(taken, s)
		delete(w.suspects, runID)
	}
	return taken
}

// forget drops the activities of a run that has none under way.
func (w *Watch) forget(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, a := range w.activities {
		if a.runID == runID {
			delete(w.activities, key)
		}
	}
}

// again keeps a run a suspect for the next look.
func (w *Watch) again(s suspect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, taken := w.suspects[s.runID]
	switch {
	case !taken && len(w.suspects) >= mostSuspects:
		return
	case taken && now.since.IsZero():
		s = suspect{runRef: s.runRef} // a step was done meanwhile
	case now.reason != "":
		s.why, s.reason = now.why, now.reason
	}
	w.suspects[s.runID] = s
}

// lastPoll is when a version's workers last waited on a queue; zero: never, as far as
// is known.
func (w *Watch) lastPoll(versionID, queue string, activities bool) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.polls[pollKey{versionID, queue, activities}]
	if p.waiting > 0 {
		return w.now()
	}
	return p.last
}
