package express

import (
	"cmp"
	"slices"
	"time"
)

// How long Temporal may take from an accepted start until polls find it.
const (
	firstSettles = 5 * time.Millisecond
	leastSettles = time.Millisecond
	mostSettles  = 50 * time.Millisecond
)

// stage is how far an urgent start is.
type stage int

const (
	starting stage = iota // Temporal does not have it yet
	queued                // it is about to wait in its queue
	called                // a worker polls for it
	taken                 // a worker has it
)

// Rush is an urgent run from its start to its first step. A nil Rush does nothing.
type Rush struct {
	lanes    *Lanes
	targetID string
	id       string // of the workflow
	at       stage
	until    time.Time
	ready    time.Time // when polls should find it, once it is queued
}

// Coming tells that a workflow of a target is about to be started. It returns nil when the
// workflow is no more urgent than those that begin anyway.
func (l *Lanes) Coming(targetID, workflowID string, priority int32) (rush *Rush) {
	l.change(targetID, func(a *lane) bool {
		if cmp.Or(priority, usual) < a.usually {
			rush = &Rush{lanes: l, targetID: targetID, id: workflowID, until: time.Now().Add(rushAtMost)}
			a.rushes = append(a.rushes, rush)
		}
		return rush != nil
	})
	return rush
}

// Queued tells that Temporal has it.
func (r *Rush) Queued() {
	if r == nil {
		return
	}
	r.lanes.change(r.targetID, func(a *lane) bool {
		if r.at == starting { // else a worker was faster
			r.at, r.ready = queued, time.Now().Add(a.settles)
		}
		return true
	})
}

// next is how long it takes until something happens by itself.
func (r *Rush) next(now time.Time) time.Duration {
	if r.at == queued {
		return r.ready.Sub(now)
	}
	return r.until.Sub(now)
}

// learn sees whether a poll was let through too early: then it brings another run. Too
// late costs less, so it shrinks slowly.
func (a *lane) learn(r *Rush, brought string) {
	switch {
	case r == nil || r.at != called:
	case brought == r.id:
		a.settles = max(a.settles*9/10, leastSettles)
	default:
		a.settles = min(a.settles*3/2, mostSettles)
		r.at, r.ready = queued, time.Now().Add(a.settles)
	}
}

// Failed tells that it was not started.
func (r *Rush) Failed() {
	if r != nil {
		r.lanes.change(r.targetID, func(a *lane) bool { return a.forget(func(other *Rush) bool { return other == r }) })
	}
}

// Stepped tells that a workflow has begun a step.
func (l *Lanes) Stepped(targetID, workflowID string) {
	l.change(targetID, func(a *lane) bool {
		urgent := a.forget(func(r *Rush) bool { return r.id == workflowID })
		if urgent {
			a.open[workflowID] = time.Now()
		}
		return urgent
	})
}

// Ended tells that a workflow has ended.
func (l *Lanes) Ended(targetID, workflowID string) {
	l.change(targetID, func(a *lane) bool {
		delete(a.open, workflowID)
		return a.forget(func(r *Rush) bool { return r.id == workflowID })
	})
}

// forget ends rushes, and says whether there were any.
func (a *lane) forget(which func(*Rush) bool) bool {
	had := len(a.rushes)
	a.rushes = slices.DeleteFunc(a.rushes, which)
	return len(a.rushes) < had
}
