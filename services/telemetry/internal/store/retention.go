package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Bounds are how much is kept.
type Bounds struct {
	Age            time.Duration `koanf:"age" help:"how old a line may get"`
	LinesPerTarget int64         `koanf:"lines_per_target" help:"lines of one app or configuration"`
	BytesPerTarget int64         `koanf:"bytes_per_target" help:"bytes of one app's or configuration's lines"`
	TotalBytes     int64         `koanf:"total_bytes" help:"bytes of all lines together"`
}

// Validate says which bound is missing.
func (b Bounds) Validate() error {
	if b.Age <= 0 || b.LinesPerTarget <= 0 || b.BytesPerTarget <= 0 || b.TotalBytes <= 0 {
		return fmt.Errorf("each of the retention bounds must be above zero; they are %+v", b)
	}
	return nil
}

// trimChunk is how many lines one transaction of the retention removes, so that
// lines which arrive meanwhile wait for milliseconds only.
const trimChunk = 2000

// Trim removes the oldest lines until every bound holds.
func (s *Store) Trim(ctx context.Context, bounds Bounds, now time.Time) error {
	targets, err := s.usages(ctx)
	if err != nil {
		return err
	}
	for target := range targets {
		if err := s.trimTarget(ctx, target, bounds, now.Add(-bounds.Age)); err != nil {
			return err
		}
	}
	return s.trimTotal(ctx, bounds.TotalBytes)
}

func (s *Store) usages(ctx context.Context) (map[string]usage, error) {
	rows, err := s.db.Query(ctx, `SELECT target_id, lines, bytes FROM log_usage`)
	if err != nil {
		return nil, fmt.Errorf("list log targets: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	all := map[string]usage{}
	for rows.Next() {
		var target string
		var u usage
		if err := rows.Scan(&target, &u.lines, &u.bytes); err != nil {
			return nil, fmt.Errorf("read log target: %w", err)
		}
		all[target] = u
	}
	return all, rows.Err()
}

func (s *Store) trimTarget(ctx context.Context, target string, bounds Bounds, before time.Time) error {
	for ctx.Err() == nil {
		removed, err := s.removeOldest(ctx, target, func(u usage) usage {
			return usage{lines: u.lines - bounds.LinesPerTarget, bytes: u.bytes - bounds.BytesPerTarget}
		}, before)
		if err != nil || removed == 0 {
			return err
		}
	}
	return ctx.Err()
}

// trimTotal takes from whoever has the most.
func (s *Store) trimTotal(ctx context.Context, bound int64) error {
	for ctx.Err() == nil {
		targets, err := s.usages(ctx)
		if err != nil {
			return err
		}
		var total int64
		largest := ""
		for target, u := range targets {
			if total += u.bytes; largest == "" || u.bytes > targets[largest].bytes {
				largest = target
			}
		}
		if total <= bound {
			return nil
		}
		removed, err := s.removeOldest(ctx, largest, func(usage) usage { return usage{bytes: total - bound} }, time.Time{})
		if err != nil || removed == 0 {
			return err
		}
	}
	return ctx.Err()
}

// removeOldest removes a chunk of a target's oldest lines: those before the moment,
// and as many as are in excess. It returns how many went.
func (s *Store) removeOldest(ctx context.Context, target string, excess func(usage) usage, before time.Time) (int, error) {
	removed := 0
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		removed = 0
		var have usage
		row := tx.QueryRow(ctx, `SELECT lines, bytes FROM log_usage WHERE target_id = ?`, target)
		if err := row.Scan(&have.lines, &have.bytes); err != nil {
			return err
		}
		last, gone, err := selectOldest(ctx, tx, target, excess(have), before)
		if err != nil || gone.lines == 0 {
			return err
		}
		removed = int(gone.lines)
		_, err = tx.Exec(ctx, `DELETE FROM log_lines WHERE target_id = ? AND (time_us < ? OR time_us = ? AND seq <= ?)`, target, last.time, last.time, last.seq)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE log_usage SET lines = lines - ?, bytes = bytes - ? WHERE target_id = ?`, gone.lines, gone.bytes, target)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM log_usage WHERE target_id = ? AND lines <= 0`, target)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim log lines of %s: %w", target, err)
	}
	return removed, nil
}

type place struct{ time, seq int64 }

func selectOldest(ctx context.Context, tx *sqldb.Tx, target string, excess usage, before time.Time) (last place, gone usage, err error) {
	rows, err := tx.Query(ctx, `SELECT time_us, seq, bytes FROM log_lines WHERE target_id = ? ORDER BY time_us, seq LIMIT ?`, target, trimChunk)
	if err != nil {
		return place{}, usage{}, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for rows.Next() {
		var at place
		var size int64
		if err := rows.Scan(&at.time, &at.seq, &size); err != nil {
			return place{}, usage{}, err
		}
		if at.time >= before.UnixMicro() && gone.lines >= excess.lines && gone.bytes >= excess.bytes {
			break
		}
		last = at
		gone.lines++
		gone.bytes += size
	}
	return last, gone, rows.Err()
}
