package projectfile

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
)

// Never is an idle time that does not come.
const Never = "never"

// Scale is how many processes the project has of each role.
type Scale struct {
	// Idle is a span after which an agent that nobody needs sleeps, or Never; empty: what
	// the cloud does with any project.
	Idle string `json:"idle,omitempty"`
	// Min and Max are the least and the most; with a Min the project never sleeps. A Max
	// of 0 is not said.
	Min int `json:"min,omitempty"`
	Max int `json:"max,omitempty"`
	// Concurrency is how many calls at once one server is for; 0: not said.
	Concurrency int `json:"concurrency,omitempty"`
}

// Bounds are the least and the most processes of a role that is awake.
func (s Scale) Bounds() (least, most int) {
	least = max(s.Min, 1)
	return least, max(s.Max, least)
}

// leastIdle keeps agents from ending while their callers only draw breath.
const leastIdle = time.Second

// check gives fields and what is wrong with them.
func (s Scale) check() iter.Seq2[string, error] {
	least, _ := s.Bounds()
	return func(yield func(string, error) bool) {
		switch err := s.checkIdle(); {
		case err != nil:
			yield("idle", err)
		case s.Max > 0 && s.Max < least:
			yield("max", fmt.Errorf("at most %d, and at least %d in min; one of them is wrong", s.Max, s.Min))
		case s.Max > least && s.Concurrency == 0:
			yield("max", errors.New("say concurrency, too: for how many calls at once one process is"))
		}
	}
}

func (s Scale) checkIdle() error {
	if s.Idle == "" || s.Idle == Never {
		return nil
	}
	d, err := timetable.Span(s.Idle)
	switch {
	case err != nil:
		return err
	case d < leastIdle:
		return fmt.Errorf("%q is too short; write at least %s, or never", s.Idle, leastIdle)
	case s.Min > 0:
		return fmt.Errorf("with min: %d the app never sleeps; remove one of them", s.Min)
	}
	return nil
}
