package express_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/express"
)

const (
	app    = "app_1"
	worker = "worker"
	// settled is when polls find a run, as long as nothing else is learnt.
	settled = 5 * time.Millisecond
)

// poll polls for runs that begin.
func poll(t *testing.T, l *express.Lanes, name string) <-chan *express.Pass {
	return pollFor(t, l, name, express.Begin)
}

// pollFor polls in a goroutine; what it gets comes when it may ask Temporal.
func pollFor(t *testing.T, l *express.Lanes, name string, kind express.Kind) <-chan *express.Pass {
	passed := make(chan *express.Pass, 1)
	go func() {
		pass, err := l.Poll(t.Context(), app, name, kind)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		passed <- pass
	}()
	return passed
}

// may says whether a poll has been let through when nothing else is going on.
func may(passed <-chan *express.Pass) *express.Pass {
	synctest.Wait()
	select {
	case pass := <-passed:
		return pass
	default:
		return nil
	}
}

// busy is a worker that has begun a run of a priority, and polls for another.
func busy(t *testing.T, l *express.Lanes, priority int32) (second <-chan *express.Pass) {
	t.Helper()
	first := may(poll(t, l, worker))
	if first == nil {
		t.Fatal("the only poll of a worker is held")
	}
	first.Took("low", priority)
	second = poll(t, l, worker)
	if may(second) != nil {
		t.Fatal("a worker that begins a run may begin another")
	}
	return second
}

func TestAnUrgentRunPasses(t *testing.T) {
	tests := map[string]struct {
		theirs, mine int32
		want         bool
	}{
		"more urgent":          {theirs: 5, mine: 1, want: true},
		"the usual beside low": {theirs: 5, mine: 0, want: true},
		"as urgent":            {theirs: 3, mine: 3},
		"less urgent":          {theirs: 0, mine: 4},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := express.New()
				second := busy(t, l, tt.theirs)
				rush := l.Coming(app, "urgent", tt.mine)
				if may(second) != nil {
					t.Error("a poll passes before Temporal has the run that it is for")
				}
				rush.Queued()
				time.Sleep(settled)
				if got := may(second) != nil; got != tt.want {
					t.Errorf("beside a run of priority %d, one of %d passes: %v, want %v", tt.theirs, tt.mine, got, tt.want)
				}
			})
		})
	}
}

func TestAPollThatCameTooEarlyIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := express.New()
		second := busy(t, l, 5)
		l.Coming(app, "urgent", 1).Queued()
		time.Sleep(settled)
		may(second).Took("another low one", 5)
		third := poll(t, l, worker)
		time.Sleep(settled)
		if may(third) != nil {
			t.Error("the next poll comes as early")
		}
		time.Sleep(settled)
		if may(third) == nil {
			t.Error("no other poll looks for the urgent run")
		}
	})
}

func TestRunsBeginOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := express.New()
		second := busy(t, l, 5)
		if may(poll(t, l, "another process")) == nil {
			t.Error("another process of the app has to wait")
		}
		l.Done(app, "another run")
		if may(second) != nil {
			t.Error("the move of another run let a poll through")
		}
		l.Done(app, "low")
		pass := may(second)
		if pass == nil {
			t.Fatal("nothing begins when the move before is made")
		}
		pass.Took("", 0)
		if may(poll(t, l, worker)) == nil {
			t.Error("nothing begins after a poll that brought nothing")
		}
	})
}

func TestAMoveThatBlocksHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := busy(t, express.New(), 5)
		time.Sleep(time.Second)
		if may(second) == nil {
			t.Error("after a second the next run does not begin")
		}
	})
}

func TestOthersWaitUntilTheUrgentHaveBegun(t *testing.T) {
	tests := map[string]struct {
		then  func(l *express.Lanes, rush *express.Rush)
		after time.Duration
	}{
		"its first step":     {then: func(l *express.Lanes, _ *express.Rush) { l.Stepped(app, "urgent") }},
		"its end":            {then: func(l *express.Lanes, _ *express.Rush) { l.Ended(app, "urgent") }},
		"a start that fails": {then: func(_ *express.Lanes, r *express.Rush) { r.Failed() }},
		"long enough":        {then: func(*express.Lanes, *express.Rush) {}, after: 100 * time.Millisecond},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := express.New()
				second := busy(t, l, 5)
				rush := l.Coming(app, "urgent", 1)
				rush.Queued()
				time.Sleep(settled)
				may(second).Took("urgent", 1)
				l.Done(app, "low")
				next := poll(t, l, worker)
				if may(next) != nil {
					t.Fatal("another begins while an urgent run is on its way")
				}
				tt.then(l, rush)
				time.Sleep(tt.after)
				if may(next) == nil {
					t.Error("nothing else begins any more")
				}
			})
		})
	}
}

func TestAPollIsNotHeldForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := express.New()
		if may(poll(t, l, worker)) == nil { // and stays at Temporal
			t.Fatal("the only poll of a worker is held")
		}
		second := poll(t, l, worker)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		select {
		case pass := <-second:
			if pass != nil {
				t.Error("it was let through")
			}
		default:
			t.Error("a poll is held for longer than 20 s")
		}
	})
}

func TestThoseThatGoOnYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := express.New()
		busy(t, l, 5)
		goOn := func() <-chan *express.Pass { return pollFor(t, l, worker, express.GoOn) }
		if may(goOn()) == nil {
			t.Error("a run may not go on while no other is urgent")
		}
		l.Coming(app, "urgent", 1)
		held := goOn()
		if may(held) != nil {
			t.Error("another goes on while an urgent run starts")
		}
		l.Stepped(app, "urgent")
		if may(held) == nil {
			t.Error("nothing goes on after its first step")
		}
		l.Coming(app, "another urgent one", 1)
		if may(goOn()) == nil {
			t.Error("an urgent run cannot go on while another starts")
		}
		l.Ended(app, "urgent")
		if may(goOn()) != nil {
			t.Error("another goes on while the second urgent run starts")
		}
	})
}
