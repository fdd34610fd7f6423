package store

import (
	"context"
	"strings"
	"time"
)

// QuestionState is how a question is, as people see it: whether the run has the answer
// yet is nobody's business.
type QuestionState string

// The states that people see, and the one that stands for all of them.
const (
	StateOpen      QuestionState = "open"
	StateAnswered  QuestionState = "answered"
	StateExpired   QuestionState = "expired"
	StateWithdrawn QuestionState = "withdrawn"
	AnyState       QuestionState = "any"
)

// inState is the condition of each, in SQL.
var inState = map[QuestionState]string{
	StateOpen:      "state = '" + Open + "'",
	StateAnswered:  "answer <> '' AND answered_by <> '" + System + "'",
	StateExpired:   "answered_by = '" + System + "'",
	StateWithdrawn: "state = '" + Done + "' AND answer = ''",
	AnyState:       "1 = 1",
}

// Valid says whether there is such a state.
func (s QuestionState) Valid() bool { return inState[s] != "" }

// Shown is a question's state as people see it.
func (q Question) Shown() QuestionState {
	switch {
	case q.AnsweredBy == System:
		return StateExpired
	case q.AnswerJSON != "":
		return StateAnswered
	case q.State == Open:
		return StateOpen
	}
	return StateWithdrawn
}

// QuestionFilter says which questions; empty fields ask for any, but one of OrgID and
// TargetID is given, and State is a valid one.
type QuestionFilter struct {
	OrgID, TargetID, SessionID, RunID string
	State                             QuestionState
	// AfterTime and AfterID are the place of the last question of the page before.
	AfterTime time.Time
	AfterID   string
	Limit     int
}

// Questions lists questions, oldest first.
func (s *Store) Questions(ctx context.Context, f QuestionFilter) ([]Question, error) {
	where, args := []string{inState[f.State]}, []any(nil)
	for _, c := range []struct{ column, value string }{
		{"org_id", f.OrgID}, {"target_id", f.TargetID}, {"session_id", f.SessionID}, {"run_id", f.RunID},
	} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	if f.AfterID != "" {
		after := toMillis(f.AfterTime)
		where, args = append(where, "(asked_at > ? OR asked_at = ? AND question_id > ?)"), append(args, after, after, f.AfterID)
	}
	query := selectQuestion + ` WHERE ` + strings.Join(where, " AND ") + ` ORDER BY asked_at, question_id LIMIT ?`
	rows, err := s.db.Query(ctx, query, append(args, f.Limit)...)
	return collect(rows, err, "questions", scanQuestion)
}
