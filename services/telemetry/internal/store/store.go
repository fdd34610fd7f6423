// Package store keeps log lines in SQL: each line once, each target within bounds.
//
// It knows no streams and nobody's rights, but every question names an organisation.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

//go:embed migrations
var migrations embed.FS

// Migrations are the tables of this room.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded at compile time
	}
	return sub
}

// Line is one line of a target.
type Line struct {
	TargetID, OrgID, LineID string
	Time                    time.Time
	Level                   busv1.LogLevel
	Source                  busv1.LogSource
	Logger, Message         string
	VersionID, InstanceID   string
	RunID, TraceID          string
	FieldsJSON              string
	DroppedBefore           int64
}

// overhead is what a line costs beside its texts.
const overhead = 160

// Bytes is what the line counts for.
func (l Line) Bytes() int64 {
	return int64(overhead + len(l.TargetID) + len(l.OrgID) + len(l.LineID) + len(l.Logger) + len(l.Message) +
		len(l.VersionID) + len(l.InstanceID) + len(l.RunID) + len(l.TraceID) + len(l.FieldsJSON))
}

// Store is the tables.
type Store struct{ db *sqldb.DB }

// New returns a Store on db.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// Ready fails while the database does not answer.
func (s *Store) Ready(ctx context.Context) error {
	var one int
	return s.db.QueryRow(ctx, `SELECT 1`).Scan(&one)
}

// chunk is how many lines one statement inserts: below the limits of both databases
// on placeholders.
const chunk = 100

const columns = 15

// Place is how far a stream has been stored.
type Place struct {
	// Stream is its name and birth.
	Stream string
	Seq    uint64
}

// FindPlace returns how far a stream has been stored; zero for a new one.
func (s *Store) FindPlace(ctx context.Context, stream string) (uint64, error) {
	var seq int64
	err := s.db.QueryRow(ctx, `SELECT seq FROM log_places WHERE stream = ?`, stream).Scan(&seq)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("find place in log stream: %w", err)
	}
	return uint64(seq), nil //nolint:gosec // written from an uint64 below
}

// Insert stores lines and the place behind them, all or nothing. A line whose
// target has its id already is left out.
func (s *Store) Insert(ctx context.Context, lines []Line, behind Place) error {
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		added := map[string]*usage{}
		for rest := lines; len(rest) > 0; {
			n := min(chunk, len(rest))
			if err := insertChunk(ctx, tx, rest[:n], added); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if err := addUsage(ctx, tx, added); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO log_places (stream, seq) VALUES (?, ?)
			ON CONFLICT (stream) DO UPDATE SET seq = CASE WHEN excluded.seq > log_places.seq THEN excluded.seq ELSE log_places.seq END`,
			behind.Stream, int64(behind.Seq)) //nolint:gosec // a stream does not get that far
		return err
	})
	if err != nil {
		return fmt.Errorf("store %d log lines: %w", len(lines), err)
	}
	return nil
}

type usage struct{ lines, bytes int64 }

func insertChunk(ctx context.Context, tx *sqldb.Tx, lines []Line, added map[string]*usage) error {
	args := make([]any, 0, len(lines)*columns)
	for _, l := range lines {
		args = append(args, l.TargetID, l.OrgID, l.LineID, l.Time.UnixMicro(), int32(l.Level), int32(l.Source), l.Logger, l.Message,
			l.VersionID, l.InstanceID, l.RunID, l.FieldsJSON, l.TraceID, l.DroppedBefore, l.Bytes())
	}
	rows, err := tx.Query(ctx, insertSQL(len(lines)), args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for rows.Next() {
		var target string
		var size int64
		if err := rows.Scan(&target, &size); err != nil {
			return err
		}
		if added[target] == nil {
			added[target] = &usage{}
		}
		added[target].lines++
		added[target].bytes += size
	}
	return rows.Err()
}

var fullInsert = buildInsert(chunk)

func insertSQL(n int) string {
	if n == chunk {
		return fullInsert
	}
	return buildInsert(n)
}

func buildInsert(n int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
	return `INSERT INTO log_lines (target_id, org_id, line_id, time_us, level, source, logger, message,
		version_id, instance_id, run_id, fields_json, trace_id, dropped_before, bytes) VALUES ` +
		strings.TrimSuffix(strings.Repeat(row+", ", n), ", ") + ` ON CONFLICT DO NOTHING RETURNING target_id, bytes`
}

func addUsage(ctx context.Context, tx *sqldb.Tx, added map[string]*usage) error {
	for _, target := range slices.Sorted(maps.Keys(added)) { // one order, so that two processes do not block each other
		u := added[target]
		_, err := tx.Exec(ctx, `INSERT INTO log_usage (target_id, lines, bytes) VALUES (?, ?, ?)
			ON CONFLICT (target_id) DO UPDATE SET lines = log_usage.lines + excluded.lines, bytes = log_usage.bytes + excluded.bytes`,
			target, u.lines, u.bytes)
		if err != nil {
			return err
		}
	}
	return nil
}

func scanLine(rows *sql.Rows) (Line, error) {
	var l Line
	var at int64
	err := rows.Scan(&l.TargetID, &l.OrgID, &l.LineID, &at, &l.Level, &l.Source, &l.Logger, &l.Message,
		&l.VersionID, &l.InstanceID, &l.RunID, &l.FieldsJSON, &l.TraceID, &l.DroppedBefore)
	l.Time = time.UnixMicro(at)
	return l, err
}
