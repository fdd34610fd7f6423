package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Configuration is a row of configurations with its address and its app.
type Configuration struct {
	ID, OrgID, CreatorID string
	Params               map[string]string
	// OfVersionID is the app's version it should run; VersionID is its own name for
	// that version with these parameters. LiveVersionID and FailedVersionID are such
	// names of its own.
	OfVersionID, VersionID         string
	LiveVersionID, FailedVersionID string
	CreatedAt                      time.Time
	Address                        Address
	App                            App
}

const selectConfiguration = `SELECT c.configuration_id, c.org_id, c.creator_id, c.params, c.of_version_id, c.version_id, c.live_version_id, c.failed_version_id,
	c.created_at, e.host, e.port, e.ready, ` + appColumns + `
	FROM configurations c JOIN addresses e ON e.target_id = c.configuration_id
	JOIN apps a ON a.app_id = c.app_id JOIN addresses d ON d.target_id = a.app_id`

// prefixed scans leading columns into its own fields and gives the rest away.
type prefixed struct {
	row    scanner
	fields []any
}

func (p prefixed) Scan(dest ...any) error { return p.row.Scan(append(p.fields, dest...)...) }

func scanConfiguration(row scanner) (Configuration, error) {
	var c Configuration
	var params string
	var created int64
	var address nullAddress
	fields := append([]any{&c.ID, &c.OrgID, &c.CreatorID, &params, &c.OfVersionID, &c.VersionID, &c.LiveVersionID, &c.FailedVersionID, &created}, address.fields()...)
	app, err := scanApp(prefixed{row, fields})
	if err == nil {
		err = json.Unmarshal([]byte(params), &c.Params)
	}
	c.App, c.CreatedAt, c.Address = app, fromMillis(created), address.value()
	return c, err
}

// InsertConfiguration adds a configuration; the error is unique when the user has one.
func (s *Store) InsertConfiguration(ctx context.Context, tx *sqldb.Tx, c Configuration) error {
	params, err := json.Marshal(c.Params)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO configurations (configuration_id, app_id, org_id, creator_id, params, of_version_id, version_id, live_version_id, failed_version_id, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, '', '', ?)`,
		c.ID, c.App.ID, c.OrgID, c.CreatorID, string(params), c.OfVersionID, c.VersionID, millis(c.CreatedAt))
	if err != nil {
		return fmt.Errorf("insert configuration: %w", err)
	}
	return nil
}

// SetWish replaces what a configuration should run, unless another call has done so
// since it was read as previous. What is live stays until the new wish is.
func (s *Store) SetWish(ctx context.Context, tx *sqldb.Tx, c Configuration, previous string) (bool, error) {
	text, err := json.Marshal(c.Params)
	if err != nil {
		return false, err
	}
	res, err := tx.Exec(ctx, `UPDATE configurations SET params = ?, of_version_id = ?, version_id = ? WHERE configuration_id = ? AND version_id = ?`,
		string(text), c.OfVersionID, c.VersionID, c.ID, previous)
	if err != nil {
		return false, fmt.Errorf("set a configuration's wish: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// FindConfiguration finds a configuration of the organisation.
func (s *Store) FindConfiguration(ctx context.Context, orgID, configurationID string) (Configuration, error) {
	c, err := scanConfiguration(s.db.QueryRow(ctx, selectConfiguration+` WHERE c.org_id = ? AND c.configuration_id = ?`, orgID, configurationID))
	return one(c, err, "no such configuration")
}

// FindConfigurationAt finds a configuration of the organisation by its address.
func (s *Store) FindConfigurationAt(ctx context.Context, orgID string, at Address) (Configuration, error) {
	c, err := scanConfiguration(s.db.QueryRow(ctx, selectConfiguration+` WHERE c.org_id = ? AND (e.host = ? OR e.port = ?)`,
		orgID, nullText(at.Host), nullNumber(at.Port)))
	return one(c, err, "no such configuration")
}

// FindConfigurationOf finds a user's configuration of an app.
func (s *Store) FindConfigurationOf(ctx context.Context, appID, userID string) (Configuration, error) {
	c, err := scanConfiguration(s.db.QueryRow(ctx, selectConfiguration+` WHERE c.app_id = ? AND c.creator_id = ?`, appID, userID))
	return one(c, err, "no such configuration")
}

// ListConfigurations lists configurations, newest first, and counts them all.
func (s *Store) ListConfigurations(ctx context.Context, f Filter) ([]Configuration, int, error) {
	clause, args := f.where()
	if f.CreatorID != "" {
		clause, args = clause+` AND c.creator_id = ?`, append(args, f.CreatorID)
	}
	var total int
	count := `SELECT COUNT(*) FROM configurations c JOIN apps a ON a.app_id = c.app_id` + clause
	if err := s.db.QueryRow(ctx, count, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count configurations: %w", err)
	}
	rows, err := s.db.Query(ctx, selectConfiguration+clause+` ORDER BY c.created_at DESC, c.configuration_id DESC LIMIT ? OFFSET ?`,
		append(args, f.Limit, f.Offset)...)
	all, err := collect(rows, err, scanConfiguration)
	return all, total, err
}

// ConfigurationsOf lists all configurations of an app.
func (s *Store) ConfigurationsOf(ctx context.Context, tx *sqldb.Tx, appID string) ([]Configuration, error) {
	rows, err := tx.Query(ctx, selectConfiguration+` WHERE c.app_id = ?`, appID)
	return collect(rows, err, scanConfiguration)
}

// Outdated lists configurations that should run another version than their app's
// live one, or wait to run it, at most limit.
func (s *Store) Outdated(ctx context.Context, limit int) ([]Configuration, error) {
	rows, err := s.db.Query(ctx, selectConfiguration+` WHERE a.live_version_id <> '' AND (c.of_version_id <> a.live_version_id
		OR c.version_id <> c.live_version_id AND c.version_id <> c.failed_version_id) ORDER BY c.created_at LIMIT ?`, limit)
	return collect(rows, err, scanConfiguration)
}

// SetConfigurationVersion records how a configuration's version went, if it is still
// the one it should run.
func (s *Store) SetConfigurationVersion(ctx context.Context, tx *sqldb.Tx, configurationID, versionID string, live bool) error {
	column := "failed_version_id"
	if live {
		column = "live_version_id"
	}
	if _, err := tx.Exec(ctx, `UPDATE configurations SET `+column+` = ? WHERE configuration_id = ? AND version_id = ?`, versionID, configurationID, versionID); err != nil {
		return fmt.Errorf("set configuration's version: %w", err)
	}
	return nil
}

// DeleteConfiguration removes a configuration and its address.
func (s *Store) DeleteConfiguration(ctx context.Context, tx *sqldb.Tx, configurationID string) error {
	for _, statement := range []string{
		`DELETE FROM addresses WHERE target_id = ?`,
		`DELETE FROM configurations WHERE configuration_id = ?`,
	} {
		if _, err := tx.Exec(ctx, statement, configurationID); err != nil {
			return fmt.Errorf("delete configuration: %w", err)
		}
	}
	return nil
}
