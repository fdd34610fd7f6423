package bridge

import (
	"context"
	"errors"
	"sync"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const setLevel = "logging/setLevel"

// loudness is the level of logs of a leg: the lowest that any of its open calls asked for.
// What a call did not ask for is left out where its client is told.
type loudness struct {
	setting sync.Mutex // held while the agent is asked

	mu   sync.Mutex
	open map[string]int // level to calls
	set  string         // what the agent knows
	mute bool           // it has no levels
}

// want notes the level of a call until over is called; empty: none.
func (l *loudness) want(level string) (over func()) {
	if level == "" {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[string]int{}
	}
	l.open[level]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[level]--; l.open[level] == 0 {
			delete(l.open, level)
		}
	}
}

// due is what the agent has to be told; empty: nothing.
func (l *loudness) due() (level string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for wanted := range l.open {
		if level == "" || modern.Severity(wanted) < modern.Severity(level) {
			level = wanted
		}
	}
	if l.mute || level == l.set {
		return ""
	}
	return level
}

func (l *loudness) known() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set
}

func (l *loudness) told(level string, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set, l.mute = level, mute
}

// loud has the agent say what a call that begins wants to hear. An agent without levels
// says what it says.
func (l *leg) loud(ctx context.Context) {
	l.setting.Lock()
	defer l.setting.Unlock()
	level := l.due()
	if level == "" {
		return
	}
	err := l.Ask(ctx, setLevel, map[string]string{"level": level})
	if ctx.Err() == nil {
		l.told(level, errors.Is(err, sessions.ErrRefused)) // one that is silent is not asked again
	}
}

// remind tells an agent that has forgotten the leg.
func (l *leg) remind(ctx context.Context, ask sessions.Ask) {
	if l.known() == "" {
		return // the call that begins says it
	}
	l.told("", false)
	if level := l.due(); level != "" && ask(ctx, setLevel, map[string]string{"level": level}) == nil {
		l.told(level, false)
	}
}
