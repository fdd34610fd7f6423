package health

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestReconcile(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	key := store.ConditionKey{TargetID: "app", Type: WorkflowStuck, Reason: StepFails, Subject: "Flow"}
	kept := store.Condition{ConditionKey: key, Message: "old", RunIDs: []string{"r1"}, Since: now.Add(-time.Hour), SeenAt: now.Add(-5 * time.Second)}
	tests := map[string]struct {
		seen time.Duration // before now
		// settling says how the kept one was
		settling bool
		found    string
		runs     map[string]bool
		put      string // message of what is put
		settles  bool
		gone     bool
	}{
		"as it was":                  {seen: 5 * time.Second, found: "old"},
		"as it was, long ago":        {seen: 20 * time.Second, found: "old", put: "old"},
		"other words":                {seen: 5 * time.Second, found: "new", put: "new"},
		"back again":                 {seen: 20 * time.Second, settling: true, found: "old", put: "old"},
		"not looked at":              {seen: time.Hour},
		"away":                       {seen: 5 * time.Second, runs: map[string]bool{"r1": false}, put: "old", settles: true},
		"still away":                 {seen: 20 * time.Second, settling: true, runs: map[string]bool{"r1": false}},
		"away for long":              {seen: time.Minute, settling: true, runs: map[string]bool{"r1": false}, gone: true},
		"its run is over":            {seen: 5 * time.Second, runs: map[string]bool{"r1": true}, gone: true},
		"another run was looked at":  {seen: time.Hour, runs: map[string]bool{"r2": true}},
		"its run is over, and found": {seen: 5 * time.Second, found: "new", runs: map[string]bool{"r1": true}, put: "new"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			old := kept
			old.SeenAt, old.Settling = now.Add(-tt.seen), tt.settling
			f := newFindings()
			if f.runs = tt.runs; tt.found != "" {
				f.add(key, "org", tt.found, "r1")
			}
			put, gone := f.reconcile([]store.Condition{old}, time.Minute, 15*time.Second, now)
			if (len(gone) == 1) != tt.gone || (len(put) == 1) != (tt.put != "") {
				t.Fatalf("reconcile() = put %v, gone %v", put, gone)
			}
			if len(put) == 1 && (put[0].Message != tt.put || put[0].Settling != tt.settles || !put[0].Since.Equal(old.Since)) {
				t.Errorf("put %+v", put[0])
			}
		})
	}
}

func TestAnAppHasSoManyConditionsAndNoMore(t *testing.T) {
	t.Parallel()
	f := newFindings()
	for i := range conditionsPerTarget + 5 {
		f.add(store.ConditionKey{TargetID: "app", Type: WorkflowSlow, Subject: string(rune('a' + i))}, "org", "", "")
	}
	f.add(store.ConditionKey{TargetID: "another"}, "org", "", "")
	if put, _ := f.reconcile(nil, 0, 0, time.Now()); len(put) != conditionsPerTarget+1 {
		t.Errorf("%d conditions are kept, want %d and another app's", len(put), conditionsPerTarget)
	}
}

func TestGrows(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lengths []int64
		want    bool
	}{
		"grows":         {[]int64{5, 8, 20}, true},
		"with a pause":  {[]int64{10, 10, 20}, true},
		"stands":        {[]int64{20, 20, 20}, false},
		"was shorter":   {[]int64{20, 19, 30}, false},
		"short":         {[]int64{1, 2, 9}, false},
		"too few to be": {[]int64{1, 200}, false},
	}
	for desc, tt := range tests {
		var readings []reading
		for _, n := range tt.lengths {
			readings = append(readings, reading{length: n})
		}
		if got := grows(readings, 3); got != tt.want {
			t.Errorf("%s: grows(%v) = %v", desc, tt.lengths, got)
		}
	}
}

func TestWaitsThatOverlapCountOnce(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	got := covered([]store.Wait{
		{RunID: "a", From: at(0), Until: at(10)},
		{RunID: "a", From: at(2), Until: at(5)},
		{RunID: "a", From: at(8), Until: at(12)},
		{RunID: "a", From: at(20)},
		{RunID: "b", From: at(29), Until: at(28)},
	}, at(30))
	if diff := cmp.Diff(map[string]time.Duration{"a": 22 * time.Second}, got); diff != "" {
		t.Errorf("covered() (-want +got):\n%s", diff)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: 1, 10: 10, 20: 19, 100: 95} {
		var of []time.Duration
		for i := range n {
			of = append(of, time.Duration(n-i))
		}
		if got := percentile(of, 0.95); got != want {
			t.Errorf("of %d: %d, want %d", n, got, want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	raised := func(kind, message string) *failurepb.Failure {
		return &failurepb.Failure{Message: message, FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
			ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: kind},
		}}
	}
	const plain, differs = enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE, enumspb.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
	tests := map[string]struct {
		cause enumspb.WorkflowTaskFailedCause
		why   *failurepb.Failure
		want  string
	}{
		"by cause":  {differs, nil, NotDeterministic},
		"by code":   {plain, raised("", "[TMPRL1100] a timer was expected"), NotDeterministic},
		"by type":   {plain, raised("NondeterminismError", "no"), NotDeterministic},
		"any error": {plain, raised("ValueError", "no"), StepFails},
		"a stall":   {plain, raised("", "[TMPRL1101] potential deadlock"), StepFails},
	}
	for desc, tt := range tests {
		if got := reasonOf(tt.cause, tt.why); got != tt.want {
			t.Errorf("%s: %s, want %s", desc, got, tt.want)
		}
	}
}
