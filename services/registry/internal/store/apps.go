package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// App is a row of apps with its address.
type App struct {
	ID, OrgID, CreatorID, Name string
	Description                *string
	Unauthenticated            bool
	Metadata                   string // JSON; empty: none
	LiveVersionID              string // empty: none
	UserParams                 []string
	CreatedAt, UpdatedAt       time.Time
	Address                    Address
}

// Address is where a target answers.
type Address struct {
	Host  string // empty in port mode
	Port  int    // 0 in host mode
	Ready bool
}

const (
	appColumns = `a.app_id, a.org_id, a.creator_id, a.name, a.description, a.unauthenticated, a.metadata,
		a.live_version_id, a.user_params, a.created_at, a.updated_at, d.host, d.port, d.ready`
	selectApp = `SELECT ` + appColumns + ` FROM apps a JOIN addresses d ON d.target_id = a.app_id`
)

func scanApp(row scanner) (App, error) {
	var a App
	var params string
	var created, updated int64
	var address nullAddress
	err := row.Scan(append([]any{
		&a.ID, &a.OrgID, &a.CreatorID, &a.Name, &a.Description, &a.Unauthenticated, &a.Metadata,
		&a.LiveVersionID, &params, &created, &updated,
	}, address.fields()...)...)
	if err == nil {
		err = json.Unmarshal([]byte(params), &a.UserParams)
	}
	a.CreatedAt, a.UpdatedAt, a.Address = fromMillis(created), fromMillis(updated), address.value()
	return a, err
}

type nullAddress struct {
	host  sql.NullString
	port  sql.NullInt64
	ready bool
}

func (n *nullAddress) fields() []any { return []any{&n.host, &n.port, &n.ready} }
func (n *nullAddress) value() Address {
	return Address{Host: n.host.String, Port: int(n.port.Int64), Ready: n.ready}
}

// InsertApp adds an app; the error is unique when its name is taken.
func (s *Store) InsertApp(ctx context.Context, tx *sqldb.Tx, a App) error {
	_, err := tx.Exec(ctx, `INSERT INTO apps (app_id, org_id, creator_id, name, description, unauthenticated,
		metadata, live_version_id, user_params, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, '', '', '[]', ?, ?)`,
		a.ID, a.OrgID, a.CreatorID, a.Name, a.Description, a.Unauthenticated, millis(a.CreatedAt), millis(a.UpdatedAt))
	if err != nil {
		return fmt.Errorf("insert app: %w", err)
	}
	return nil
}

// FindApp finds an app of the organisation.
func (s *Store) FindApp(ctx context.Context, orgID, appID string) (App, error) {
	a, err := scanApp(s.db.QueryRow(ctx, selectApp+` WHERE a.org_id = ? AND a.app_id = ?`, orgID, appID))
	return one(a, err, "no such app")
}

// FindAppAt finds an app of the organisation by its address.
func (s *Store) FindAppAt(ctx context.Context, orgID string, at Address) (App, error) {
	a, err := scanApp(s.db.QueryRow(ctx, selectApp+` WHERE a.org_id = ? AND (d.host = ? OR d.port = ?)`, orgID, nullText(at.Host), nullNumber(at.Port)))
	return one(a, err, "no such app")
}

// Filter says which rows to list.
type Filter struct {
	OrgID     string
	CreatorID string // empty: anybody's
	Contains  string // part of the app's name; empty: any
	Offset    int
	Limit     int
}

func (f Filter) where() (string, []any) {
	clause, args := ` WHERE a.org_id = ? AND LOWER(a.name) LIKE LOWER(?) ESCAPE '\'`, []any{f.OrgID, "%" + likeEscaper.Replace(f.Contains) + "%"}
	return clause, args
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// ListApps lists apps: exact matches of the name first, then newest first, and
// counts them all.
func (s *Store) ListApps(ctx context.Context, f Filter) ([]App, int, error) {
	clause, args := f.where()
	if f.CreatorID != "" {
		clause, args = clause+` AND a.creator_id = ?`, append(args, f.CreatorID)
	}
	var total int
	if err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM apps a`+clause, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count apps: %w", err)
	}
	order := ` ORDER BY CASE WHEN a.name = ? THEN 0 ELSE 1 END, a.created_at DESC, a.app_id DESC LIMIT ? OFFSET ?`
	rows, err := s.db.Query(ctx, selectApp+clause+order, append(args, f.Contains, f.Limit, f.Offset)...)
	apps, err := collect(rows, err, scanApp)
	return apps, total, err
}

// UpdateApp writes what a person may change; the error is unique when the name is taken.
func (s *Store) UpdateApp(ctx context.Context, tx *sqldb.Tx, a App) error {
	_, err := tx.Exec(ctx, `UPDATE apps SET name = ?, description = ?, unauthenticated = ?, updated_at = ? WHERE app_id = ?`,
		a.Name, a.Description, a.Unauthenticated, millis(a.UpdatedAt), a.ID)
	if err != nil {
		return fmt.Errorf("update app: %w", err)
	}
	return nil
}

// SetMetadata writes what the deployer said of the source.
func (s *Store) SetMetadata(ctx context.Context, tx *sqldb.Tx, appID, metadata string, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE apps SET metadata = ?, updated_at = ? WHERE app_id = ?`, metadata, millis(now), appID)
	if err != nil {
		return fmt.Errorf("set metadata: %w", err)
	}
	return nil
}

// DeleteApp removes an app and all that hangs on it.
func (s *Store) DeleteApp(ctx context.Context, tx *sqldb.Tx, appID string) error {
	for _, statement := range []string{
		`DELETE FROM addresses WHERE target_id IN (SELECT configuration_id FROM configurations WHERE app_id = ?)`,
		`DELETE FROM addresses WHERE target_id = ?`,
		`DELETE FROM limits WHERE app_id = ?`,
		`DELETE FROM apps WHERE app_id = ?`,
	} {
		if _, err := tx.Exec(ctx, statement, appID); err != nil {
			return fmt.Errorf("delete app: %w", err)
		}
	}
	return nil
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullNumber(n int) any {
	if n == 0 {
		return nil
	}
	return n
}
