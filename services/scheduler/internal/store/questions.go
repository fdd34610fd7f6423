package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// The states of a question.
const (
	Open     = "open"     // nobody has answered
	Answered = "answered" // the answer is on its way to the run
	Done     = "done"     // the run has it, or does not need it any more
)

// Question is what a run waits to be told.
type Question struct {
	ID, TargetID, OrgID, WorkflowID, RunID string
	// Method and ParamsJSON are MCP's own.
	Method, ParamsJSON string
	// SignalName carries the answer; with an empty one the asker waits for it, and
	// AskKey tells its questions apart.
	SignalName, AskKey string
	SessionID, UserID  string
	AskedAt            time.Time
	AnswerJSON         string
	State              string
	Attempts           int64
	// AnsweredBy is a user id; empty for a room or an anonymous caller.
	AnsweredBy string
	AnsweredAt time.Time
}

const selectQuestion = `SELECT question_id, target_id, org_id, workflow_id, run_id, method, params, signal_name, ask_key,
	session_id, user_id, asked_at, answer, state, attempts, answered_by, answered_at FROM questions`

func scanQuestion(row scanner) (Question, error) {
	var q Question
	var asked, answered int64
	err := row.Scan(&q.ID, &q.TargetID, &q.OrgID, &q.WorkflowID, &q.RunID, &q.Method, &q.ParamsJSON, &q.SignalName, &q.AskKey,
		&q.SessionID, &q.UserID, &asked, &q.AnswerJSON, &q.State, &q.Attempts, &q.AnsweredBy, &answered)
	q.AskedAt, q.AnsweredAt = fromMillis(asked), fromMillis(answered)
	return q, err
}

// InsertQuestion records a question in tx, or finds it recorded; inserted says which.
// A question of a run that has ended is done at once, for nothing would close it later.
func (s *Store) InsertQuestion(ctx context.Context, tx *sqldb.Tx, q Question) (kept Question, inserted bool, err error) {
	inserted, err = changed(tx.Exec(ctx, `INSERT INTO questions (question_id, target_id, org_id, workflow_id, run_id, method, params,
		signal_name, ask_key, session_id, user_id, asked_at, answer, state, attempts, due_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '',
			CASE WHEN EXISTS (SELECT 1 FROM runs WHERE run_id = ? AND closed_at > 0) THEN '`+Done+`' ELSE '`+Open+`' END, 0, 0)
		ON CONFLICT (run_id, signal_name, ask_key) DO NOTHING`,
		q.ID, q.TargetID, q.OrgID, q.WorkflowID, q.RunID, q.Method, q.ParamsJSON,
		q.SignalName, q.AskKey, q.SessionID, q.UserID, toMillis(q.AskedAt), q.RunID))
	if err != nil {
		return Question{}, false, fmt.Errorf("insert question: %w", err)
	}
	kept, err = scanQuestion(tx.QueryRow(ctx, selectQuestion+` WHERE run_id = ? AND signal_name = ? AND ask_key = ?`, q.RunID, q.SignalName, q.AskKey))
	if err != nil {
		return Question{}, false, fmt.Errorf("find question: %w", err)
	}
	return kept, inserted, nil
}

// Question finds a question; it fails with fault.NotFound.
func (s *Store) Question(ctx context.Context, questionID string) (Question, error) {
	q, err := scanQuestion(s.db.QueryRow(ctx, selectQuestion+` WHERE question_id = ?`, questionID))
	if errors.Is(err, sql.ErrNoRows) {
		return Question{}, fault.NotFound.Wrap(err, "no such question: %s", questionID)
	}
	if err != nil {
		return Question{}, fmt.Errorf("find question %s: %w", questionID, err)
	}
	return q, nil
}

// Answer records an answer in tx; false when the question has one or needs none.
func (s *Store) Answer(ctx context.Context, tx *sqldb.Tx, questionID, answerJSON, by string, now time.Time) (bool, error) {
	return changed(tx.Exec(ctx, `UPDATE questions SET state = ?, answer = ?, answered_by = ?, answered_at = ?, due_at = 0
		WHERE question_id = ? AND state = ?`, Answered, answerJSON, by, toMillis(now), questionID, Open))
}

// DueAnswers lists answers that should be given to their runs by now.
func (s *Store) DueAnswers(ctx context.Context, now time.Time, limit int) ([]Question, error) {
	rows, err := s.db.Query(ctx, selectQuestion+` WHERE state = ? AND due_at <= ? ORDER BY due_at LIMIT ?`, Answered, toMillis(now), limit)
	return collect(rows, err, "answers", scanQuestion)
}

// PostponeAnswer says when to try again.
func (s *Store) PostponeAnswer(ctx context.Context, questionID string, due time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE questions SET attempts = attempts + 1, due_at = ? WHERE question_id = ?`, toMillis(due), questionID)
	if err != nil {
		return fmt.Errorf("postpone answer: %w", err)
	}
	return nil
}

// FinishQuestion says that there is nothing left to do for a question.
func (s *Store) FinishQuestion(ctx context.Context, questionID string) error {
	if _, err := s.db.Exec(ctx, `UPDATE questions SET state = ? WHERE question_id = ?`, Done, questionID); err != nil {
		return fmt.Errorf("finish question: %w", err)
	}
	return nil
}

// QuestionFilter says which open questions; empty fields ask for any, but one of
// OrgID and TargetID is given.
type QuestionFilter struct {
	OrgID, TargetID, SessionID, RunID string
	Limit                             int
}

// OpenQuestions lists open questions, oldest first.
func (s *Store) OpenQuestions(ctx context.Context, f QuestionFilter) ([]Question, error) {
	where, args := []string{"state = ?"}, []any{any(Open)}
	for _, c := range []struct{ column, value string }{
		{"org_id", f.OrgID}, {"target_id", f.TargetID}, {"session_id", f.SessionID}, {"run_id", f.RunID},
	} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	query := selectQuestion + ` WHERE ` + strings.Join(where, " AND ") + ` ORDER BY asked_at, question_id LIMIT ?`
	rows, err := s.db.Query(ctx, query, append(args, f.Limit)...)
	return collect(rows, err, "questions", scanQuestion)
}
