package flow

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
)

const (
	// roundsPerCall and bytesPerCall bound a call's history.
	roundsPerCall = 100
	bytesPerCall  = 16 << 20
)

// Kinds of errors with which a call's record refuses what is said of it.
const (
	// CallMoved: the call has ended, or another replica reads it.
	CallMoved = "CallMoved"
	// CallFull: it has asked too often, or too much.
	CallFull = "CallFull"
)

// Call is the state of a call that waits for its client. Texts of agents and clients
// are sealed by the gateway before they come here.
type Call struct {
	ID       string         `json:"id"`
	TargetID string         `json:"target_id"`
	UserID   string         `json:"user_id,omitempty"`
	Digest   []byte         `json:"digest"`
	Reader   string         `json:"reader"`
	Lease    int64          `json:"lease"`
	Round    int32          `json:"round"`
	Open     []CallQuestion `json:"open,omitempty"`
	Given    []CallAnswer   `json:"given,omitempty"`
	Place    []byte         `json:"place"`
	Cursor   string         `json:"cursor,omitempty"`
	Outcome  []byte         `json:"outcome,omitempty"`
	Ended    bool           `json:"ended,omitempty"`
	Reruns   int32          `json:"reruns,omitempty"`
	Deadline time.Time      `json:"deadline"`
	// Size is what was ever said, in bytes.
	Size int `json:"size"`
}

// CallQuestion is one thing that the client is asked.
type CallQuestion struct {
	Key    string `json:"key"`
	Sealed []byte `json:"sealed"`
}

// CallAnswer is one answer of the client's, with the digest of what was asked.
type CallAnswer struct {
	Key      string `json:"key"`
	Question []byte `json:"question"`
	Sealed   []byte `json:"sealed"`
}

// CallAsk is what a call asks now.
type CallAsk struct {
	Call Call          `json:"call"`
	Wait time.Duration `json:"wait"`
}

// CallReply is what the client answered.
type CallReply struct {
	Lease   int64         `json:"lease"`
	Answers []CallAnswer  `json:"answers"`
	Wait    time.Duration `json:"wait"`
}

// CallEnd is how a call ended.
type CallEnd struct {
	Lease   int64  `json:"lease"`
	Outcome []byte `json:"outcome"`
}

// CallTake makes By the reader in place of From.
type CallTake struct {
	From string `json:"from"`
	By   string `json:"by"`
}

func (c *Call) check(lease int64) error {
	if c.Ended || lease != c.Lease {
		return temporal.NewNonRetryableApplicationError("the call has ended, or another replica reads it", CallMoved, nil)
	}
	return nil
}

func (c *Call) checkAsk(a CallAsk) error {
	if err := c.check(a.Call.Lease); err != nil {
		return err
	}
	if a.Call.Round > roundsPerCall || c.Size+a.size() > bytesPerCall {
		return temporal.NewNonRetryableApplicationError("the call asks too often, or too much", CallFull, nil)
	}
	return nil
}

func (a CallAsk) size() int {
	size := len(a.Call.Place)
	for _, q := range a.Call.Open {
		size += len(q.Sealed)
	}
	return size
}

// ask takes over what is asked; an earlier round is known.
func (c *Call) ask(a CallAsk, now time.Time) {
	if a.Call.Round <= c.Round {
		return
	}
	c.Round, c.Open, c.Place, c.Cursor, c.Reruns = a.Call.Round, a.Call.Open, a.Call.Place, a.Call.Cursor, a.Call.Reruns
	c.Size += a.size()
	c.Deadline = now.Add(a.Wait)
}

func (c *Call) reply(r CallReply, now time.Time) {
	for _, answer := range r.Answers {
		at := slices.IndexFunc(c.Open, func(q CallQuestion) bool { return q.Key == answer.Key })
		if at < 0 || c.Size+len(answer.Sealed) > bytesPerCall {
			continue
		}
		c.Open = slices.Delete(c.Open, at, at+1)
		c.Given = append(c.Given, answer)
		c.Size += len(answer.Sealed)
	}
	c.Deadline = now.Add(r.Wait)
}

func (c *Call) end(e CallEnd) { c.Open, c.Outcome, c.Ended = nil, e.Outcome, true }

// take changes the reader, unless it is another already.
func (c *Call) take(t CallTake) {
	if !c.Ended && c.Reader == t.From && t.From != t.By {
		c.Reader = t.By
		c.Lease++
	}
}
