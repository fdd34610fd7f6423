package commandhost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// defaultSessions is how many processes a program may have.
	defaultSessions = 16
	// idleLimit ends sessions whose client has gone without a word; one that comes back
	// begins another, as after any restart.
	idleLimit = 30 * time.Minute
	// restAfter is how long nothing must have been asked in a session that makes room for
	// another: between two calls of a conversation the program may keep something in memory.
	restAfter  = time.Minute
	sweepEvery = time.Minute
	idBytes    = 16
)

// sessions are all that there are, and one process that waits for the next.
type sessions struct {
	starter starter
	most    int
	rest    time.Duration

	mu    sync.Mutex
	all   map[string]*session
	spare *child
	// filling says that a spare process is being started.
	filling bool
	closed  bool
	ends    sync.WaitGroup
}

func newSessions(s starter, most int) *sessions {
	if most <= 0 {
		most = defaultSessions
	}
	return &sessions{starter: s, most: most, rest: restAfter, all: map[string]*session{}}
}

var errClosed = errors.New("the server is stopping; try again in a moment")

// begin makes a session. When there are as many as may be, the one that was idle the
// longest is ended: when its client calls again it finds it forgotten, as after a restart.
func (t *sessions) begin() (*session, error) {
	id := make([]byte, idBytes)
	_, _ = rand.Read(id) // never fails
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if len(t.all) >= t.most && !t.evict() {
		return nil, fmt.Errorf("all %d sessions of this server are in use; try again, or raise `sessions` in agentcloud.yaml", t.most)
	}
	c, err := t.take()
	if err != nil {
		return nil, err
	}
	s := newSession(hex.EncodeToString(id), c, t.starter.out)
	t.all[s.id] = s
	t.ends.Go(func() {
		<-c.done
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, s.id)
	})
	t.fill()
	return s, nil
}

// take returns the process that waits, or starts one; t.mu is held.
func (t *sessions) take() (*child, error) {
	c := t.spare
	t.spare = nil
	if c != nil {
		select {
		case <-c.done: // it did not wait
		default:
			return c, nil
		}
	}
	return t.starter.start(true)
}

// fill starts the next process beside the work, unless sessions have all that may be;
// t.mu is held.
func (t *sessions) fill() {
	if t.closed || t.filling || t.spare != nil || len(t.all) >= t.most {
		return
	}
	t.filling = true
	t.ends.Go(func() {
		c, err := t.starter.start(true)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.filling = false
		switch {
		case err != nil: // who needs one is told
		case t.closed:
			t.ends.Go(c.end)
		default:
			t.spare = c
		}
	})
}

// evict ends the session that was idle the longest, one that nobody listens to before
// others; t.mu is held.
func (t *sessions) evict() bool {
	var oldest *session
	var since time.Time
	var heard bool
	for _, s := range t.all {
		at, listens, ok := s.idle()
		if !ok || time.Since(at) < t.rest {
			continue
		}
		if oldest == nil || heard && !listens || heard == listens && at.Before(since) {
			oldest, since, heard = s, at, listens
		}
	}
	if oldest == nil {
		return false
	}
	oldest.rest()
	t.drop(oldest)
	return true
}

// drop forgets a session and ends its process; t.mu is held.
func (t *sessions) drop(s *session) {
	delete(t.all, s.id)
	t.ends.Go(s.child.end)
}

func (t *sessions) find(id string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[id]
}

// end ends the session of that id; false when there is none.
func (t *sessions) end(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[id]
	if s == nil {
		return false
	}
	t.drop(s)
	return true
}

// sweep ends what nobody uses any more, until ctx ends.
func (t *sessions) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.expire(time.Now().Add(-idleLimit))
		}
	}
}

func (t *sessions) expire(before time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.all {
		if since, heard, ok := s.idle(); ok && !heard && since.Before(before) {
			t.drop(s)
		}
	}
}

// close ends all of them and waits for that.
func (t *sessions) close() {
	t.mu.Lock()
	t.closed = true
	for _, s := range t.all {
		t.drop(s)
	}
	if t.spare != nil {
		t.ends.Go(t.spare.end)
	}
	t.mu.Unlock()
	t.ends.Wait()
}
