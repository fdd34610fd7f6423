package runs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// loader counts how often a run is read.
type loader struct {
	reads int
	run   *schedulerv1.Run
	err   error
}

func (l *loader) load(context.Context) (*schedulerv1.Run, error) {
	l.reads++
	return l.run, l.err
}

func TestRecent(t *testing.T) {
	t.Parallel()
	open, over := &schedulerv1.Run{RunId: "a"}, &schedulerv1.Run{RunId: "a", CloseTime: timestamppb.Now()}
	tests := map[string]struct {
		loader loader
		later  time.Duration
		closes bool
		want   int // reads for two questions
	}{
		"an open run, at once":      {loader: loader{run: open}, want: 1},
		"an open run, later":        {loader: loader{run: open}, later: openFresh, want: 2},
		"an open run that closed":   {loader: loader{run: open}, closes: true, want: 2},
		"a closed run, later":       {loader: loader{run: over}, later: openFresh, want: 1},
		"a closed run, much later":  {loader: loader{run: over}, later: closedFresh, want: 2},
		"a large one is not kept":   {loader: loader{run: &schedulerv1.Run{ResultJson: strings.Repeat("x", recentBytes)}}, want: 2},
		"a failure is not repeated": {loader: loader{err: errors.New("away")}, want: 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			r, l := newRecent(func() time.Time { return now }), test.loader
			for range 2 {
				if got, err := r.get(t.Context(), "a", l.load); got != l.run || !errors.Is(err, l.err) {
					t.Errorf("get() = %v, %v", got, err)
				}
				now = now.Add(test.later)
				if test.closes {
					r.forget("a")
				}
			}
			if l.reads != test.want {
				t.Errorf("%d reads, want %d", l.reads, test.want)
			}
		})
	}
}

func TestWhatWasReadBeforeACloseIsNotKept(t *testing.T) {
	t.Parallel()
	r := newRecent(time.Now)
	l := loader{run: &schedulerv1.Run{}}
	_, err := r.get(t.Context(), "a", func(ctx context.Context) (*schedulerv1.Run, error) {
		r.forget("a") // while it is read
		return l.load(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.get(t.Context(), "a", l.load); err != nil || l.reads != 2 {
		t.Errorf("%d reads, want 2; %v", l.reads, err)
	}
}

func TestManyAskAndOneReads(t *testing.T) {
	t.Parallel()
	r := newRecent(time.Now)
	release, reads := make(chan struct{}), 0
	var group sync.WaitGroup
	impatient, leave := context.WithCancel(t.Context())
	slow := func(context.Context) (*schedulerv1.Run, error) {
		reads++ // one at a time, or the race detector says so
		leave()
		<-release
		return &schedulerv1.Run{RunId: "a"}, nil
	}
	group.Go(func() {
		if _, err := r.get(impatient, "a", slow); !errors.Is(err, context.Canceled) {
			t.Errorf("get() of one who left = %v", err)
		}
	})
	<-impatient.Done()
	for range 8 {
		group.Go(func() {
			if run, err := r.get(t.Context(), "a", slow); err != nil || run.GetRunId() != "a" {
				t.Errorf("get() = %v, %v", run, err)
			}
		})
	}
	close(release)
	group.Wait()
	if reads > 2 { // those who came after the first read's end
		t.Errorf("%d reads", reads)
	}
}
