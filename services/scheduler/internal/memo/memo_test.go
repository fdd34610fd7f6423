package memo_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/memo"
)

func TestWhatWasReadIsKnownForAMoment(t *testing.T) {
	t.Parallel()
	now, reads, boom := time.Unix(0, 0), 0, errors.New("boom")
	m := memo.New[int](2, time.Second, func() time.Time { return now })
	load := func(context.Context) (int, error) { reads++; return reads, nil }
	for _, step := range []struct {
		desc, key string
		later     time.Duration
		load      func(context.Context) (int, error)
		want      int
		err       error
	}{
		{"the first time", "a", 0, load, 1, nil},
		{"again", "a", 999 * time.Millisecond, load, 1, nil},
		{"too old", "a", time.Millisecond, load, 2, nil},
		{"another", "b", 0, load, 3, nil},
		{"it fails", "c", 0, func(context.Context) (int, error) { return 0, boom }, 0, boom},
		{"and is tried again", "c", 0, load, 4, nil},
		{"there are too many", "a", 0, load, 5, nil},
		{"it changes while it is read", "d", 0, func(context.Context) (int, error) { m.Forget(); return 0, nil }, 0, nil},
		{"so it is read again", "d", 0, load, 6, nil},
		{"like all others", "a", 0, load, 7, nil},
	} {
		now = now.Add(step.later)
		if got, err := m.Get(t.Context(), step.key, step.load); got != step.want || !errors.Is(err, step.err) {
			t.Errorf("%s: Get(%s) = %d, %v; want %d, %v", step.desc, step.key, got, err, step.want, step.err)
		}
	}
}
