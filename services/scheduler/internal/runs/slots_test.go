package runs

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flood polls for an organisation with endless work until ctx ends, with so many pollers;
// each move takes a while.
func flood(ctx context.Context, s *slots, org string, pollers int, moves *atomic.Int64) {
	for range pollers {
		go func() {
			for {
				p, err := s.wait(ctx, org)
				if err != nil {
					return
				}
				time.Sleep(time.Millisecond) // the poll
				s.take(p)
				moves.Add(1)
				go func() {
					time.Sleep(10 * time.Millisecond) // the move
					s.give(p)
				}()
			}
		}()
	}
}

func TestOrganisationsShareMovesByWeight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSlots(2, map[string]float64{"heavy": 3})
		var heavy, light atomic.Int64
		flood(ctx, s, "heavy", 4, &heavy)
		flood(ctx, s, "light", 4, &light)
		time.Sleep(10 * time.Second)
		cancel()
		synctest.Wait()
		if share := float64(heavy.Load()) / float64(light.Load()); share < 2.8 || share > 3.2 {
			t.Errorf("%d moves of the one with three times the weight, %d of the other", heavy.Load(), light.Load())
		}
		if all := heavy.Load() + light.Load(); all < 1500 {
			t.Errorf("%d moves in 10 s; two at once of 11 ms are 1800", all)
		}
		time.Sleep(time.Second) // the last moves end
	})
}

func TestIdlePollsTakeNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2, nil)
		began := time.Now()
		for range 100 {
			if _, err := s.wait(t.Context(), "idle"); err != nil { // none of them ever brings work
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 100/2*answersWithin {
			t.Errorf("the last of 100 polls began after %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var busy atomic.Int64
		flood(ctx, s, "busy", 2, &busy)
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		if busy.Load() < 150 {
			t.Errorf("%d moves in a second beside 100 idle polls", busy.Load())
		}
		time.Sleep(time.Second)
	})
}

func TestWhoLeavesMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, nil)
		first, err := s.wait(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		s.take(first)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.wait(ctx, "b"); err == nil {
			t.Error("wait() of one who has gone found a place")
		}
		s.give(first)
		if _, err := s.wait(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken != 0 || len(s.waiting) != 0 {
			t.Errorf("%d taken, %d wait", s.taken, len(s.waiting))
		}
	})
}
