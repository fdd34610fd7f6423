package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// System is who answers a question whose deadline has passed. No user has this id.
const System = "system"

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
	// AnsweredBy is a user id, or System; empty for a room or an anonymous caller.
	AnsweredBy string
	AnsweredAt time.Time
	// Deadline is zero for a question that waits as long as its run.
	Deadline time.Time
}

const selectQuestion = `SELECT question_id, target_id, org_id, workflow_id, run_id, method, params, signal_name, ask_key,
	session_id, user_id, asked_at, answer, state, attempts, answered_by, answered_at, deadline_at FROM questions`

func scanQuestion(row scanner) (Question, error) {
	var q Question
	var asked, answered, deadline int64
	err := row.Scan(&q.ID, &q.TargetID, &q.OrgID, &q.WorkflowID, &q.RunID, &q.Method, &q.ParamsJSON, &q.SignalName, &q.AskKey,
		&q.SessionID, &q.UserID, &asked, &q.AnswerJSON, &q.State, &q.Attempts, &q.AnsweredBy, &answered, &deadline)
	q.AskedAt, q.AnsweredAt, q.Deadline = fromMillis(asked), fromMillis(answered), fromMillis(deadline)
	return q, err
}

// InsertQuestion records a question in tx, or finds it recorded; inserted says which.
// A question of a run that has ended is done at once, for nothing would close it later.
func (s *Store) InsertQuestion(ctx context.Context, tx *sqldb.Tx, q Question) (kept Question, inserted bool, err error) {
	inserted, err = changed(tx.Exec(ctx, `INSERT INTO questions (question_id, target_id, org_id, workflow_id, run_id, method, params,
		signal_name, ask_key, session_id, user_id, asked_at, changed_at, deadline_at, answer, state, attempts, due_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '',
			CASE WHEN EXISTS (SELECT 1 FROM runs WHERE run_id = ? AND closed_at > 0) THEN '`+Done+`' ELSE '`+Open+`' END, 0, 0)
		ON CONFLICT (run_id, signal_name, ask_key) DO NOTHING`,
		q.ID, q.TargetID, q.OrgID, q.WorkflowID, q.RunID, q.Method, q.ParamsJSON,
		q.SignalName, q.AskKey, q.SessionID, q.UserID, toMillis(q.AskedAt), toMillis(q.AskedAt), toMillis(q.Deadline), q.RunID))
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

// Answer records an answer in tx; false when the question has one, needs none, or its
// time is over. After a deadline only System answers.
func (s *Store) Answer(ctx context.Context, tx *sqldb.Tx, questionID, answerJSON, by string, now time.Time) (bool, error) {
	at := toMillis(now)
	return changed(tx.Exec(ctx, `UPDATE questions SET state = ?, answer = ?, answered_by = ?, answered_at = ?, changed_at = ?, due_at = 0
		WHERE question_id = ? AND state = ? AND (deadline_at = 0 OR (deadline_at <= ?) = (? = '`+System+`'))`,
		Answered, answerJSON, by, at, at, questionID, Open, at, by))
}

// Overdue lists open questions whose deadline has passed, the longest overdue first.
func (s *Store) Overdue(ctx context.Context, now time.Time, limit int) ([]Question, error) {
	rows, err := s.db.Query(ctx, selectQuestion+` WHERE state = ? AND deadline_at > 0 AND deadline_at <= ? ORDER BY deadline_at LIMIT ?`,
		Open, toMillis(now), limit)
	return collect(rows, err, "overdue questions", scanQuestion)
}

// WithdrawQuestions takes back in tx what a run has asked and nobody has answered, and
// says which questions those were.
func (s *Store) WithdrawQuestions(ctx context.Context, tx *sqldb.Tx, runID string, now time.Time) ([]Question, error) {
	rows, err := tx.Query(ctx, selectQuestion+` WHERE run_id = ? AND state = ?`, runID, Open)
	open, err := collect(rows, err, "open questions", scanQuestion)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	_, err = tx.Exec(ctx, `UPDATE questions SET state = ?, changed_at = ? WHERE run_id = ? AND state = ?`, Done, toMillis(now), runID, Open)
	if err != nil {
		return nil, fmt.Errorf("withdraw questions of run %s: %w", runID, err)
	}
	return open, nil
}

// QuestionsChanged is when a question of a run was last asked, answered or taken back;
// zero when it has asked none.
func (s *Store) QuestionsChanged(ctx context.Context, runID string) (time.Time, error) {
	var at int64
	err := s.db.QueryRow(ctx, `SELECT COALESCE(MAX(changed_at), 0) FROM questions WHERE run_id = ?`, runID).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("look when questions of run %s changed: %w", runID, err)
	}
	return fromMillis(at), nil
}

// QuestionBySignal finds the question of a run that a signal answers; it fails with
// fault.NotFound.
func (s *Store) QuestionBySignal(ctx context.Context, runID, signal string) (Question, error) {
	q, err := scanQuestion(s.db.QueryRow(ctx, selectQuestion+` WHERE run_id = ? AND signal_name = ? AND signal_name <> ''`, runID, signal))
	if errors.Is(err, sql.ErrNoRows) {
		return Question{}, fault.NotFound.Wrap(err, "no question of this run waits for the signal %s", signal)
	}
	if err != nil {
		return Question{}, fmt.Errorf("find question by signal: %w", err)
	}
	return q, nil
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
