package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

// Query says which lines.
type Query struct {
	OrgID, TargetID string
	// Since leaves out older ones; zero: none.
	Since    time.Time
	RunID    string
	Contains string
	MinLevel busv1.LogLevel
	// ByLevel sorts by loudness first, Ascending the other way round.
	ByLevel, Ascending bool
	Limit              int
	// Bytes bounds the answer; the first line always fits.
	Bytes int
}

// Find returns the lines in the order asked for.
func (s *Store) Find(ctx context.Context, q Query) ([]Line, error) {
	text, args := q.sql()
	rows, err := s.db.Query(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("find log lines: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var lines []Line
	for size := 0; rows.Next(); {
		line, err := scanLine(rows)
		if err != nil {
			return nil, fmt.Errorf("read log line: %w", err)
		}
		if size += int(line.Bytes()); size > q.Bytes && len(lines) > 0 {
			break
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read log lines: %w", err)
	}
	return lines, nil
}

// sql sorts the places of lines first and fetches the texts of those that are
// wanted, since texts are large.
func (q Query) sql() (string, []any) {
	where := []string{"target_id = ?", "org_id = ?"}
	args := []any{q.TargetID, q.OrgID}
	add := func(condition string, arg any) {
		where = append(where, condition)
		args = append(args, arg)
	}
	if !q.Since.IsZero() {
		add("time_us >= ?", q.Since.UnixMicro())
	}
	if q.RunID != "" {
		add("run_id = ?", q.RunID)
	}
	if q.MinLevel > busv1.LogLevel_LOG_LEVEL_DEBUG {
		add("level >= ?", int32(q.MinLevel))
	}
	if q.Contains != "" {
		add(`lower(message) LIKE lower(?) ESCAPE '\'`, "%"+escaper.Replace(q.Contains)+"%")
	}
	order := q.order()
	args = append(args, q.Limit)
	return `SELECT target_id, org_id, line_id, time_us, level, source, logger, message, version_id, instance_id, run_id,
		fields_json, trace_id, dropped_before FROM log_lines WHERE seq IN (SELECT seq FROM log_lines WHERE ` +
		strings.Join(where, " AND ") + order + ` LIMIT ?)` + order, args
}

var escaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (q Query) order() string {
	direction := " DESC"
	if q.Ascending {
		direction = " ASC"
	}
	if q.ByLevel {
		// Among equally loud ones the newest comes first.
		return " ORDER BY level" + direction + ", time_us DESC, seq DESC"
	}
	return " ORDER BY time_us" + direction + ", seq" + direction
}
