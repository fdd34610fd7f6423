package limits

import "time"

// growth is how long the share before the last growth is remembered.
const growth = time.Minute

// share is this replica's part of all limits: 1/n.
type share struct {
	n int
	// before is what n was before the share grew, at grew. What others have used until
	// then is not given out again.
	before int
	grew   time.Time
	// since is when this replica joined others: its keys were empty then. Zero: it was
	// alone, and a new key is full.
	since time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

// begin is the bucket of a key that is new here.
func (s share) begin(p *Policy, evicted, now time.Time) *bucket {
	if start := later(s.since, evicted); !start.IsZero() {
		return &bucket{at: start}
	}
	if s.grew.IsZero() {
		return &bucket{tokens: p.burst(s.n), at: now}
	}
	return &bucket{tokens: p.burst(max(s.n, s.before)), at: s.grew}
}

// fill adds what has come since, counted from when the share last grew.
func (s share) fill(b *bucket, p *Policy, now time.Time) {
	if since := now.Sub(later(b.at, s.grew)); since > 0 {
		b.tokens += p.rate(s.n) * since.Seconds()
	}
	b.tokens, b.at = min(b.tokens, p.burst(s.n)), now
}

// of is the share among n replicas.
func (s share) of(n int, now time.Time) share {
	if n < s.n {
		before := s.n
		if now.Sub(s.grew) < growth {
			before = max(before, s.before)
		}
		s.before, s.grew = before, now
	}
	s.n = n
	return s
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
