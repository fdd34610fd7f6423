package health

import (
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// findings is what one look has found, and what it has looked at.
type findings struct {
	conditions map[store.ConditionKey]store.Condition
	// looked are subjects that were looked at, by type, whatever was found.
	looked map[looked]bool
	// runs are those that were looked at: true when they are over.
	runs map[string]bool
}

type looked struct{ targetID, typ, subject string }

func newFindings() *findings {
	return &findings{conditions: map[store.ConditionKey]store.Condition{}, looked: map[looked]bool{}, runs: map[string]bool{}}
}

// add notes that something is wrong; runID is empty when it is with no run.
func (f *findings) add(key store.ConditionKey, orgID, message, runID string) {
	c, ok := f.conditions[key]
	if !ok {
		c = store.Condition{ConditionKey: key, OrgID: orgID, Message: message}
	}
	if runID != "" && !slices.Contains(c.RunIDs, runID) {
		c.Runs++
		if len(c.RunIDs) < runsPerCondition {
			c.RunIDs = append(c.RunIDs, runID)
		}
	}
	f.conditions[key] = c
}

// absent says whether a condition that was not found is really not there.
func (f *findings) absent(c store.Condition) bool {
	if c.Type != WorkflowStuck {
		return f.looked[looked{c.TargetID, c.Type, c.Subject}]
	}
	return !slices.ContainsFunc(c.RunIDs, func(id string) bool { _, ok := f.runs[id]; return !ok })
}

// over says whether an absent condition cannot come back: all its runs are over.
func (f *findings) over(c store.Condition) bool {
	return c.Type == WorkflowStuck && !slices.ContainsFunc(c.RunIDs, func(id string) bool { return !f.runs[id] })
}

// reconcile says what is to be written of what was kept and what was found: put is new
// or changed, gone is over. What was not looked at stays as it is.
func (f *findings) reconcile(kept []store.Condition, settle, fresh time.Duration, now time.Time) (put, gone []store.Condition) {
	known, perTarget := map[store.ConditionKey]bool{}, map[string]int{}
	for _, c := range kept {
		known[c.ConditionKey] = true
		perTarget[c.TargetID]++
		found, ok := f.conditions[c.ConditionKey]
		switch {
		case ok:
			found.Since, found.SeenAt = c.Since, now
			if c.Settling || found.Message != c.Message || !slices.Equal(found.RunIDs, c.RunIDs) || now.Sub(c.SeenAt) >= fresh {
				put = append(put, found)
			}
		case !f.absent(c):
		case f.over(c) || now.Sub(c.SeenAt) >= settle:
			gone = append(gone, c)
		case !c.Settling:
			c.Settling = true
			put = append(put, c)
		}
	}
	for key, found := range f.conditions {
		if known[key] || perTarget[key.TargetID] >= conditionsPerTarget {
			continue
		}
		perTarget[key.TargetID]++
		found.Since, found.SeenAt = now, now
		put = append(put, found)
	}
	return put, gone
}
