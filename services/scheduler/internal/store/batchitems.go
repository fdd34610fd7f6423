package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// ItemState is how an item of a batch is.
type ItemState string

// The states of items.
const (
	ItemPending   ItemState = "pending"
	ItemRunning   ItemState = "running"
	ItemCompleted ItemState = "completed"
	ItemFailed    ItemState = "failed"
	ItemCancelled ItemState = "cancelled"
)

// Item is one input of a batch and what became of it.
type Item struct {
	BatchID        string
	Index, Retries int64
	State          ItemState
	// Input is a JSON object of arguments.
	Input string
	RunID string
	// Result is JSON; empty when the item has none, or one too large to be kept here.
	Result                  string
	ErrorType, ErrorMessage string
	EndedAt                 time.Time
}

const selectItem = `SELECT batch_id, idx, state, retries, input, run_id, result, error_type, error_message, ended_at FROM batch_items`

func scanItem(row scanner) (Item, error) {
	var i Item
	var ended int64
	err := row.Scan(&i.BatchID, &i.Index, &i.State, &i.Retries, &i.Input, &i.RunID, &i.Result, &i.ErrorType, &i.ErrorMessage, &ended)
	i.EndedAt = fromMillis(ended)
	return i, err
}

// Items lists items of a batch that are in one of the states (none: in any), in the
// order of their inputs, from index first on.
func (s *Store) Items(ctx context.Context, batchID string, first int64, limit int, states ...ItemState) ([]Item, error) {
	query, args := selectItem+` WHERE batch_id = ? AND idx >= ?`, []any{batchID, first}
	if len(states) > 0 {
		query += ` AND state IN (?` + strings.Repeat(", ?", len(states)-1) + `)`
		for _, state := range states {
			args = append(args, state)
		}
	}
	rows, err := s.db.Query(ctx, query+` ORDER BY idx LIMIT ?`, append(args, limit)...)
	return collect(rows, err, "items", scanItem)
}

// ChangeItems records in tx what became of items that were pending or running, once,
// and returns the batch with its new numbers. What an item's earlier try says is left
// aside.
func (s *Store) ChangeItems(ctx context.Context, tx *sqldb.Tx, batchID string, changes []Item) (Batch, error) {
	var delta Counts
	for _, c := range changes {
		from := []ItemState{ItemRunning, ItemPending}
		if c.State == ItemRunning {
			from = from[1:]
		}
		for _, state := range from {
			moved, err := changed(tx.Exec(ctx, `UPDATE batch_items SET state = ?, run_id = ?, result = ?, error_type = ?, error_message = ?, ended_at = ?
				WHERE batch_id = ? AND idx = ? AND retries = ? AND state = ?`,
				c.State, c.RunID, c.Result, c.ErrorType, c.ErrorMessage, toMillis(c.EndedAt), batchID, c.Index, c.Retries, state))
			if err != nil {
				return Batch{}, fmt.Errorf("change item: %w", err)
			}
			if moved {
				delta.add(state, -1)
				delta.add(c.State, 1)
				break
			}
		}
	}
	return s.count(ctx, tx, batchID, delta)
}

// CancelItems records in tx that items which wait are cancelled.
func (s *Store) CancelItems(ctx context.Context, tx *sqldb.Tx, batchID string, at time.Time) (Batch, error) {
	moved, err := affected(tx.Exec(ctx, `UPDATE batch_items SET state = ?, ended_at = ? WHERE batch_id = ? AND state = ?`,
		ItemCancelled, toMillis(at), batchID, ItemPending))
	if err != nil {
		return Batch{}, fmt.Errorf("cancel items: %w", err)
	}
	return s.count(ctx, tx, batchID, Counts{Pending: -moved, Cancelled: moved})
}

// RetryItems records in tx that the items in a state wait for another try, and returns
// how many.
func (s *Store) RetryItems(ctx context.Context, tx *sqldb.Tx, batchID string, state ItemState) (int64, error) {
	moved, err := affected(tx.Exec(ctx, `UPDATE batch_items SET state = ?, retries = retries + 1, run_id = '', result = '', error_type = '', error_message = '',
		ended_at = 0 WHERE batch_id = ? AND state = ?`, ItemPending, batchID, state))
	if err != nil {
		return 0, fmt.Errorf("retry items: %w", err)
	}
	delta := Counts{Pending: moved}
	delta.add(state, -moved)
	_, err = s.count(ctx, tx, batchID, delta)
	return moved, err
}

func (c *Counts) add(state ItemState, n int64) {
	switch state {
	case ItemPending:
		c.Pending += n
	case ItemRunning:
		c.Running += n
	case ItemCompleted:
		c.Completed += n
	case ItemFailed:
		c.Failed += n
	case ItemCancelled:
		c.Cancelled += n
	}
}

func (s *Store) count(ctx context.Context, tx *sqldb.Tx, batchID string, d Counts) (Batch, error) {
	_, err := tx.Exec(ctx, `UPDATE batches SET pending = pending + ?, running = running + ?, completed = completed + ?, failed = failed + ?,
		cancelled = cancelled + ? WHERE batch_id = ?`, d.Pending, d.Running, d.Completed, d.Failed, d.Cancelled, batchID)
	if err != nil {
		return Batch{}, fmt.Errorf("count items: %w", err)
	}
	return findBatch(ctx, tx, batchID)
}

// Failure is a reason and how many items failed for it.
type Failure struct {
	Type, Message string
	Items         int64
}

// reasonLength is how much of a message tells reasons apart, characters.
const reasonLength = 200

// Failures groups the failed items of a batch by their reason, the most frequent first.
func (s *Store) Failures(ctx context.Context, batchID string, limit int) ([]Failure, error) {
	rows, err := s.db.Query(ctx, fmt.Sprintf(`SELECT error_type, SUBSTR(error_message, 1, %[1]d), COUNT(*) AS items FROM batch_items
		WHERE batch_id = ? AND state = ? GROUP BY error_type, SUBSTR(error_message, 1, %[1]d) ORDER BY items DESC, error_type LIMIT ?`, reasonLength),
		batchID, ItemFailed, limit)
	return collect(rows, err, "failures", func(row scanner) (f Failure, err error) { return f, row.Scan(&f.Type, &f.Message, &f.Items) })
}
