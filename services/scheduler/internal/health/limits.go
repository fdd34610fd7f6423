package health

import "time"

// Limits say when something is wrong.
type Limits struct {
	// Every is how often everything is looked at.
	Every time.Duration
	// Tries is how often a step or an activity may fail, Patience how long a step may.
	Tries    int
	Patience time.Duration
	// Silence is how long an activity may give no sign of life.
	Silence time.Duration
	// NoWorker is how long tasks may wait without anybody who asks for them.
	NoWorker time.Duration
	// Sample is how often the length of a queue is read, Growing over how many of these
	// readings it may grow.
	Sample  time.Duration
	Growing int
	// SlowFactor is how many times the usual an open run may take, SlowLeast what it may
	// take in any case.
	SlowFactor float64
	SlowLeast  time.Duration
	// Failures is how many runs may fail in a row, FailureRate the part of those that
	// ended within Window.
	Failures    int
	FailureRate float64
	Window      time.Duration
	// Settle is how long something must be away until it is over.
	Settle time.Duration
}

// Defaults are limits that fit agents, whose steps take seconds to minutes.
func Defaults() Limits {
	return Limits{
		Every: 15 * time.Second, Tries: 3, Patience: time.Minute, Silence: 10 * time.Minute, NoWorker: time.Minute,
		Sample: 30 * time.Second, Growing: 10, SlowFactor: 3, SlowLeast: time.Minute,
		Failures: 5, FailureRate: 0.5, Window: time.Hour, Settle: time.Minute,
	}
}

// Bounds of one look. What there is beyond them is looked at next time.
const (
	suspectsPerLook = 100
	queuesPerLook   = 100
	kindsPerLook    = 200
	// conditionsPerTarget bounds what is kept of one app, runsPerCondition the runs that
	// a condition names.
	conditionsPerTarget = 100
	runsPerCondition    = 10
	// history is how many closed runs are the usual, leastHistory how many say anything.
	history      = 100
	leastHistory = 10
	// leastBacklog is how long a queue must be to be too long.
	leastBacklog = 10
	slowPerKind  = 20
)
