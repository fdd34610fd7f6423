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

// BatchState is how a batch is.
type BatchState string

// The states of batches. A batch that is filling has not got all its inputs yet.
const (
	BatchFilling    BatchState = "filling"
	BatchRunning    BatchState = "running"
	BatchPaused     BatchState = "paused"
	BatchCancelling BatchState = "cancelling"
	BatchCompleted  BatchState = "completed"
	BatchCancelled  BatchState = "cancelled"
)

// Batch is one workflow or tool for many inputs.
type Batch struct {
	ID, OrgID, TargetID, Name, UserID string

	State       BatchState
	Concurrency int
	// Skipped counts inputs that were not valid.
	Skipped int64
	Counts
	// Tenths of the items that ended, as an event has told.
	Tenths int64

	CreatedAt, StartedAt, EndedAt time.Time
}

// Counts are how many items of a batch are in which state.
type Counts struct{ Total, Pending, Running, Completed, Failed, Cancelled int64 }

// Ended is how many items will not change any more.
func (c Counts) Ended() int64 { return c.Completed + c.Failed + c.Cancelled }

const selectBatch = `SELECT batch_id, org_id, target_id, name, user_id, state, concurrency, skipped, total, pending, running, completed, failed,
	cancelled, tenths, created_at, started_at, ended_at FROM batches`

func scanBatch(row scanner) (Batch, error) {
	var b Batch
	var created, started, ended int64
	err := row.Scan(&b.ID, &b.OrgID, &b.TargetID, &b.Name, &b.UserID, &b.State, &b.Concurrency, &b.Skipped, &b.Total, &b.Pending, &b.Running,
		&b.Completed, &b.Failed, &b.Cancelled, &b.Tenths, &created, &started, &ended)
	b.CreatedAt, b.StartedAt, b.EndedAt = fromMillis(created), fromMillis(started), fromMillis(ended)
	return b, err
}

// OpenBatch records a batch that is about to get its inputs. It fails with
// fault.Exists when the id is taken, and with fault.Exhausted when the organisation
// has most batches open already.
func (s *Store) OpenBatch(ctx context.Context, b Batch, most int) error {
	return s.Tx(ctx, func(tx *sqldb.Tx) error {
		var open int
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM batches WHERE org_id = ? AND state IN (?, ?, ?, ?)`,
			b.OrgID, BatchFilling, BatchRunning, BatchPaused, BatchCancelling).Scan(&open)
		if err != nil {
			return fmt.Errorf("count open batches: %w", err)
		}
		added, err := changed(tx.Exec(ctx, `INSERT INTO batches (batch_id, org_id, target_id, name, user_id, state, concurrency, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch_id) DO NOTHING`,
			b.ID, b.OrgID, b.TargetID, b.Name, b.UserID, BatchFilling, b.Concurrency, toMillis(b.CreatedAt)))
		switch {
		case err != nil:
			return fmt.Errorf("insert batch: %w", err)
		case !added:
			return fault.Exists.Errorf("there is a batch %s already", b.ID)
		case open >= most:
			return fault.Exhausted.Errorf("your organisation has %d batches open, which is the most; wait until one has ended", open)
		}
		return nil
	})
}

// FillBatch adds inputs to a batch that is filling, from index first on.
func (s *Store) FillBatch(ctx context.Context, batchID string, first int64, inputs []string) error {
	if len(inputs) == 0 {
		return nil
	}
	values, args := make([]string, len(inputs)), make([]any, 0, 4*len(inputs))
	for i, input := range inputs {
		values[i] = "(?, ?, ?, ?)"
		args = append(args, batchID, first+int64(i), ItemPending, input)
	}
	_, err := s.db.Exec(ctx, `INSERT INTO batch_items (batch_id, idx, state, input) VALUES `+strings.Join(values, ", "), args...)
	if err != nil {
		return fmt.Errorf("insert inputs: %w", err)
	}
	return nil
}

// BeginBatch records in tx that a batch has all its inputs. It fails with
// fault.Conflict when it is not filling any more.
func (s *Store) BeginBatch(ctx context.Context, tx *sqldb.Tx, batchID string, total, skipped int64, at time.Time) error {
	begun, err := changed(tx.Exec(ctx, `UPDATE batches SET state = ?, total = ?, pending = ?, skipped = ?, started_at = ? WHERE batch_id = ? AND state = ?`,
		BatchRunning, total, total, skipped, toMillis(at), batchID, BatchFilling))
	if err == nil && !begun {
		return fault.Conflict.Errorf("this upload took too long; start the batch again")
	}
	return err
}

// Batch finds a batch; it fails with fault.NotFound.
func (s *Store) Batch(ctx context.Context, batchID string) (Batch, error) {
	return findBatch(ctx, s.db, batchID)
}

func findBatch(ctx context.Context, q querier, batchID string) (Batch, error) {
	b, err := scanBatch(q.QueryRow(ctx, selectBatch+` WHERE batch_id = ?`, batchID))
	if errors.Is(err, sql.ErrNoRows) {
		return Batch{}, fault.NotFound.Wrap(err, "no such batch: %s", batchID)
	}
	if err != nil {
		return Batch{}, fmt.Errorf("find batch %s: %w", batchID, err)
	}
	return b, nil
}

// BatchFilter says which batches; empty fields ask for any.
type BatchFilter struct {
	OrgID, TargetID string
	State           BatchState
	// Before and BeforeID continue a list after that batch.
	Before   time.Time
	BeforeID string
	Limit    int
}

// Batches lists batches that have all their inputs, newest first.
func (s *Store) Batches(ctx context.Context, f BatchFilter) ([]Batch, error) {
	where, args := []string{"state <> ?"}, []any{any(BatchFilling)}
	for _, c := range []struct{ condition, value string }{
		{"org_id = ?", f.OrgID}, {"target_id = ?", f.TargetID}, {"state = ?", string(f.State)},
	} {
		if c.value != "" {
			where, args = append(where, c.condition), append(args, c.value)
		}
	}
	if f.BeforeID != "" {
		where = append(where, "(created_at < ? OR created_at = ? AND batch_id < ?)")
		args = append(args, toMillis(f.Before), toMillis(f.Before), f.BeforeID)
	}
	query := selectBatch + ` WHERE ` + strings.Join(where, " AND ") + ` ORDER BY created_at DESC, batch_id DESC LIMIT ?`
	rows, err := s.db.Query(ctx, query, append(args, f.Limit)...)
	return collect(rows, err, "batches", scanBatch)
}

// TurnBatch records in tx a new state of a batch that is in one of the given, and
// returns it. It fails with fault.Conflict when it is in another.
func (s *Store) TurnBatch(ctx context.Context, tx *sqldb.Tx, batchID string, to BatchState, from ...BatchState) (Batch, error) {
	b, err := findBatch(ctx, tx, batchID)
	if err != nil {
		return b, err
	}
	for _, state := range from {
		if b.State != state {
			continue
		}
		_, err := tx.Exec(ctx, `UPDATE batches SET state = ?, ended_at = 0 WHERE batch_id = ?`, to, batchID)
		b.State = to
		return b, err
	}
	return b, fault.Conflict.Errorf("this batch is %s", b.State)
}

// EndBatch records in tx that a batch is over.
func (s *Store) EndBatch(ctx context.Context, tx *sqldb.Tx, batchID string, state BatchState, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE batches SET state = ?, ended_at = ? WHERE batch_id = ?`, state, toMillis(at), batchID)
	return err
}

// TellTenths records in tx how far events have told of a batch.
func (s *Store) TellTenths(ctx context.Context, tx *sqldb.Tx, batchID string, tenths int64) error {
	_, err := tx.Exec(ctx, `UPDATE batches SET tenths = ? WHERE batch_id = ?`, tenths, batchID)
	return err
}

// DeleteBatch forgets a batch and its items.
func (s *Store) DeleteBatch(ctx context.Context, batchID string) error {
	return s.Tx(ctx, func(tx *sqldb.Tx) error {
		for _, table := range []string{"batch_items", "batches"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE batch_id = ?`, batchID); err != nil {
				return fmt.Errorf("delete batch: %w", err)
			}
		}
		return nil
	})
}

// OldBatches lists batches that ended before then, and those whose upload began before
// late and did not end.
func (s *Store) OldBatches(ctx context.Context, then, late time.Time, limit int) ([]Batch, error) {
	rows, err := s.db.Query(ctx, selectBatch+` WHERE ended_at > 0 AND ended_at < ? OR state = ? AND created_at < ? LIMIT ?`,
		toMillis(then), BatchFilling, toMillis(late), limit)
	return collect(rows, err, "old batches", scanBatch)
}

// BatchesUnderWay lists the ids of batches that need somebody to steer them.
func (s *Store) BatchesUnderWay(ctx context.Context) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT batch_id FROM batches WHERE state IN (?, ?, ?)`, BatchRunning, BatchPaused, BatchCancelling)
	return collect(rows, err, "batches", func(row scanner) (id string, err error) { return id, row.Scan(&id) })
}
