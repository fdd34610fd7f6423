package health

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// pace compares the runs of some kinds with those before: how long they take, and how
// they end. The next look goes on with other kinds.
func (s *Service) pace(ctx context.Context, f *findings, kept []store.Condition) error {
	kinds, err := s.deps.Store.NextKinds(ctx, s.next, kindsPerLook)
	if err != nil {
		return err
	}
	s.next = store.Kind{}
	if len(kinds) == kindsPerLook {
		s.next = kinds[len(kinds)-1]
	}
	for _, c := range kept {
		kind := store.Kind{TargetID: c.TargetID, OrgID: c.OrgID, Type: c.Subject}
		if (c.Type == WorkflowSlow || c.Type == WorkflowFailing) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	live := map[string]string{}
	for l := range s.gauges {
		live[l.targetID] = l.versionID
	}
	for _, k := range kinds {
		if err := s.compare(ctx, f, k, live[k.TargetID]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) compare(ctx context.Context, f *findings, k store.Kind, live string) error {
	closed, err := s.deps.Store.LastClosed(ctx, k, history)
	if err != nil {
		return err
	}
	if err := s.slow(ctx, f, k, closed); err != nil {
		return err
	}
	now := s.deps.Now()
	if reason, words := s.deps.Limits.failing(closed, live, now); reason != "" {
		key := store.ConditionKey{TargetID: k.TargetID, Type: WorkflowFailing, Reason: reason, Subject: k.Type}
		f.add(key, k.OrgID, words, "")
		for _, run := range slices.Backward(failures(closed, live)) {
			f.add(key, k.OrgID, words, run.RunID)
		}
	}
	f.looked[looked{k.TargetID, WorkflowSlow, k.Type}], f.looked[looked{k.TargetID, WorkflowFailing, k.Type}] = true, true
	return nil
}

// slow finds open runs that take much longer than those before. The time that any of
// them waited for a person does not count.
func (s *Service) slow(ctx context.Context, f *findings, k store.Kind, closed []store.Run) error {
	usual, err := s.usual(ctx, closed)
	if err != nil || usual < 0 {
		return err
	}
	now := s.deps.Now()
	bound := max(time.Duration(s.deps.Limits.SlowFactor*float64(usual)), s.deps.Limits.SlowLeast)
	open, err := s.deps.Store.OldestOpen(ctx, k, now.Add(-bound), slowPerKind)
	if err != nil {
		return err
	}
	waited, err := s.waited(ctx, open, now)
	if err != nil {
		return err
	}
	open = slices.DeleteFunc(open, func(r store.Run) bool { return now.Sub(r.StartedAt)-waited[r.RunID] < bound })
	key := store.ConditionKey{TargetID: k.TargetID, Type: WorkflowSlow, Reason: SlowerThanUsual, Subject: k.Type}
	for _, run := range open {
		f.add(key, k.OrgID, slowWords(len(open), bound, usual), run.RunID)
	}
	return nil
}

// usual is the time within which 95 % of the closed runs were over that completed;
// negative when they are too few to say.
func (s *Service) usual(ctx context.Context, closed []store.Run) (time.Duration, error) {
	completed := slices.DeleteFunc(slices.Clone(closed), func(r store.Run) bool { return r.Outcome != runs.Completed })
	if len(completed) < leastHistory {
		return -1, nil
	}
	waited, err := s.waited(ctx, completed, s.deps.Now())
	if err != nil {
		return -1, err
	}
	took := make([]time.Duration, 0, len(completed))
	for _, r := range completed {
		took = append(took, r.ClosedAt.Sub(r.StartedAt)-waited[r.RunID])
	}
	return percentile(took, 0.95), nil
}

// percentile is the nearest-rank percentile of durations, at least one.
func percentile(of []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(math.Ceil(part*float64(len(sorted))))-1]
}

// waited is how long each run waited for people until now.
func (s *Service) waited(ctx context.Context, of []store.Run, now time.Time) (map[string]time.Duration, error) {
	ids := make([]string, len(of))
	for i, r := range of {
		ids[i] = r.RunID
	}
	waits, err := s.deps.Store.Waits(ctx, ids)
	return covered(waits, now), err
}

// covered is the time that each run's waits cover together; they are in order.
func covered(waits []store.Wait, now time.Time) map[string]time.Duration {
	total, until := map[string]time.Duration{}, map[string]time.Time{}
	for _, w := range waits {
		if w.Until.IsZero() {
			w.Until = now
		}
		if end := until[w.RunID]; w.From.Before(end) {
			w.From = end
		}
		if w.Until.After(w.From) {
			total[w.RunID] += w.Until.Sub(w.From)
			until[w.RunID] = w.Until
		}
	}
	return total
}

// failed says whether a run's end was a failure of its code.
func failed(r store.Run) bool { return r.Outcome == runs.Failed || r.Outcome == runs.TimedOut }

// counting are the runs of the live version that ended by themselves, newest first:
// those that people ended say nothing, and a new version begins anew.
func counting(closed []store.Run, live string) []store.Run {
	return slices.DeleteFunc(slices.Clone(closed), func(r store.Run) bool {
		return r.VersionID != live || !failed(r) && r.Outcome != runs.Completed
	})
}

// failures are the newest of them that failed, as many as a condition names.
func failures(closed []store.Run, live string) []store.Run {
	all := slices.DeleteFunc(counting(closed, live), func(r store.Run) bool { return !failed(r) })
	return all[:min(len(all), runsPerCondition)]
}

// failing judges how the runs of a kind ended, newest first; no reason: well enough.
func (l Limits) failing(closed []store.Run, live string, now time.Time) (reason, words string) {
	ended := counting(closed, live)
	series := slices.IndexFunc(ended, func(r store.Run) bool { return !failed(r) })
	if series < 0 {
		series = len(ended)
	}
	if series >= l.Failures {
		return FailsInSeries, failingWords(FailsInSeries, series, series, l.Window)
	}
	bad, all := 0, 0
	for _, r := range ended {
		if r.ClosedAt.Before(now.Add(-l.Window)) {
			break
		}
		if all++; failed(r) {
			bad++
		}
	}
	if all >= leastHistory && float64(bad) > l.FailureRate*float64(all) {
		return FailsTooOften, failingWords(FailsTooOften, bad, all, l.Window)
	}
	return "", ""
}
