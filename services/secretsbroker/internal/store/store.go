// Package store keeps the records of secrets: handles, names, owners. It never
// sees a value.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
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

// State is how far the two stores agree about a secret.
type State string

const (
	// Storing means that a value may or may not be in the vault yet.
	Storing State = "storing"
	// Stored means that the vault has a value.
	Stored State = "stored"
	// Deleting means that the vault may still have a value.
	Deleting State = "deleting"
)

// Record is a secret without its value.
type Record struct {
	ID, OrgID, CreatorID, Name, Type string
	State                            State
	UpdatedAt                        time.Time
}

// Store is the table of records.
type Store struct{ db *sqldb.DB }

// New returns a Store on db.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// Insert adds a record.
func (s *Store) Insert(ctx context.Context, r Record) error {
	_, err := s.db.Exec(ctx, `INSERT INTO secrets
		(secret_id, org_id, creator_id, name, type, state, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.OrgID, r.CreatorID, r.Name, r.Type, r.State, r.UpdatedAt.UnixMilli(), r.UpdatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert secret record: %w", err)
	}
	return nil
}

// Find returns a stored record of the organisation, or fault.NotFound.
func (s *Store) Find(ctx context.Context, org, secretID string) (Record, error) {
	row := s.db.QueryRow(ctx, selectRecord+` WHERE org_id = ? AND secret_id = ? AND state = ?`, org, secretID, Stored)
	record, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, fault.NotFound.Wrap(err, "no such secret")
	}
	if err != nil {
		return Record{}, fmt.Errorf("find secret record: %w", err)
	}
	return record, nil
}

// SetState changes a record's state in tx. A record that is gone is left so.
func (s *Store) SetState(ctx context.Context, tx *sqldb.Tx, secretID string, state State, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE secrets SET state = ?, updated_at = ? WHERE secret_id = ?`, state, now.UnixMilli(), secretID)
	if err != nil {
		return fmt.Errorf("set state of secret record: %w", err)
	}
	return nil
}

// Remove drops a record in tx.
func (s *Store) Remove(ctx context.Context, tx *sqldb.Tx, secretID string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM secrets WHERE secret_id = ?`, secretID); err != nil {
		return fmt.Errorf("remove secret record: %w", err)
	}
	return nil
}

// Tx runs f in a transaction.
func (s *Store) Tx(ctx context.Context, f func(*sqldb.Tx) error) error { return s.db.Tx(ctx, f) }

// Filter says which records to list.
type Filter struct {
	OrgID    string
	Contains string // part of the name; empty: any
	// After continues behind this name and id.
	AfterName, AfterID string
	Limit              int
}

// List returns stored records by name.
func (s *Store) List(ctx context.Context, f Filter) ([]Record, error) {
	rows, err := s.db.Query(ctx, selectRecord+`
		WHERE org_id = ? AND state = ? AND name LIKE ? ESCAPE '\' AND (name > ? OR name = ? AND secret_id > ?)
		ORDER BY name, secret_id LIMIT ?`,
		f.OrgID, Stored, "%"+likeEscaper.Replace(f.Contains)+"%", f.AfterName, f.AfterName, f.AfterID, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list secret records: %w", err)
	}
	return collect(rows)
}

// Unfinished returns records that have been storing or deleting since before.
func (s *Store) Unfinished(ctx context.Context, before time.Time, limit int) ([]Record, error) {
	rows, err := s.db.Query(ctx, selectRecord+` WHERE state <> ? AND updated_at < ? ORDER BY updated_at LIMIT ?`,
		Stored, before.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("list unfinished secret records: %w", err)
	}
	return collect(rows)
}

const selectRecord = `SELECT secret_id, org_id, creator_id, name, type, state, updated_at FROM secrets`

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

type scanner interface{ Scan(dest ...any) error }

func scan(row scanner) (Record, error) {
	var r Record
	var updated int64
	err := row.Scan(&r.ID, &r.OrgID, &r.CreatorID, &r.Name, &r.Type, &r.State, &updated)
	r.UpdatedAt = time.UnixMilli(updated)
	return r, err
}

func collect(rows *sql.Rows) ([]Record, error) {
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var records []Record
	for rows.Next() {
		record, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read secret record: %w", err)
		}
		records = append(records, record)
	}
	return records, rows.Err()
}
