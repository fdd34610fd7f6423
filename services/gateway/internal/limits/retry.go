package limits

import (
	"errors"
	"time"
)

// RetryAfter tells of a refusal when to try again; zero when err is none.
func RetryAfter(err error) time.Duration {
	var reached *Reached
	if errors.As(err, &reached) {
		return reached.Retry
	}
	return 0
}

// Which tells the id of the limit that was reached; empty when err is no refusal.
func Which(err error) string {
	var reached *Reached
	if errors.As(err, &reached) {
		return reached.Limit
	}
	return ""
}
