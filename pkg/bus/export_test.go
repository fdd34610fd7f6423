package bus

import "time"

// Hurry makes consumers give up after tries, soon.
func Hurry(b *Bus, tries uint64) {
	b.patience = patience{tries: tries, handling: 300 * time.Millisecond, first: time.Millisecond, last: 4 * time.Millisecond}
}

// Backoff is the ordinary wait after a number of tries.
func Backoff(tries uint64) time.Duration { return ordinary.backoff(tries) }

// Settle has a Bus keep what is sent in its outbox for a while.
func Settle(b *Bus, d time.Duration) { b.settle = d }
