package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// State of a version.
type State string

// The states of a version.
const (
	Pending State = "pending"
	Live    State = "live"
	Retired State = "retired"
	Failed  State = "failed"
	Ready   State = "ready"   // it is up and waits to be promoted
	Deleted State = "deleted" // its number stays taken
)

// Version is a row of versions.
type Version struct {
	ID, AppID          string
	Number             int64
	UploadID, BundleID string
	State              State
	Error, Metadata    string
	CreatorID          string
	CreatedAt, LiveAt  time.Time
	// LiveBy is the user who had it made live, the last time.
	LiveBy string
	// Digest is that of what was uploaded; empty for a server that runs elsewhere.
	Digest string
}

// Upload is a row of uploads.
type Upload struct {
	ID, AppID, BundleID, Digest, Refused, CreatorID string
	CreatedAt                                       time.Time
}

// InsertUpload adds an upload.
func (s *Store) InsertUpload(ctx context.Context, u Upload) error {
	_, err := s.db.Exec(ctx, `INSERT INTO uploads (upload_id, app_id, bundle_id, digest, refused, creator_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		u.ID, u.AppID, u.BundleID, u.Digest, u.Refused, u.CreatorID, millis(u.CreatedAt))
	if err != nil {
		return fmt.Errorf("insert upload: %w", err)
	}
	return nil
}

// LatestUpload finds the newest upload of an app.
func (s *Store) LatestUpload(ctx context.Context, appID string) (Upload, error) {
	var u Upload
	var created int64
	err := s.db.QueryRow(ctx, `SELECT upload_id, app_id, bundle_id, digest, refused, creator_id, created_at FROM uploads
		WHERE app_id = ? ORDER BY created_at DESC, upload_id DESC LIMIT 1`, appID).
		Scan(&u.ID, &u.AppID, &u.BundleID, &u.Digest, &u.Refused, &u.CreatorID, &created)
	u.CreatedAt = fromMillis(created)
	return one(u, err, "nothing was uploaded")
}

const selectVersion = `SELECT version_id, app_id, number, upload_id, bundle_id, state, error, metadata, creator_id, created_at, live_at, live_by,
	COALESCE((SELECT digest FROM uploads WHERE uploads.upload_id = versions.upload_id), '') FROM versions`

func scanVersion(row scanner) (Version, error) {
	var v Version
	var created, live int64
	err := row.Scan(&v.ID, &v.AppID, &v.Number, &v.UploadID, &v.BundleID, &v.State, &v.Error, &v.Metadata, &v.CreatorID, &created, &live, &v.LiveBy, &v.Digest)
	v.CreatedAt, v.LiveAt = fromMillis(created), fromMillis(live)
	return v, err
}

// VersionOfUpload finds the version made of an upload.
func (s *Store) VersionOfUpload(ctx context.Context, tx *sqldb.Tx, appID, uploadID string) (Version, error) {
	v, err := scanVersion(tx.QueryRow(ctx, selectVersion+` WHERE app_id = ? AND upload_id = ?`, appID, uploadID))
	return one(v, err, "no such version")
}

// FindVersion finds a version.
func (s *Store) FindVersion(ctx context.Context, versionID string) (Version, error) {
	v, err := scanVersion(s.db.QueryRow(ctx, selectVersion+` WHERE version_id = ?`, versionID))
	return one(v, err, "no such version")
}

// VersionNumbered finds a version of an app by its number.
func (s *Store) VersionNumbered(ctx context.Context, appID string, number int64) (Version, error) {
	v, err := scanVersion(s.db.QueryRow(ctx, selectVersion+` WHERE app_id = ? AND number = ?`, appID, number))
	return one(v, err, "no such version")
}

// ListVersions lists versions below a number (0: all) that are not deleted, newest first.
func (s *Store) ListVersions(ctx context.Context, appID string, below int64, limit int) ([]Version, error) {
	if below == 0 {
		below = 1 << 62
	}
	rows, err := s.db.Query(ctx, selectVersion+` WHERE app_id = ? AND number < ? AND state <> ? ORDER BY number DESC LIMIT ?`, appID, below, Deleted, limit)
	return collect(rows, err, scanVersion)
}

// InsertVersion adds a pending version with the next number, which it returns.
func (s *Store) InsertVersion(ctx context.Context, tx *sqldb.Tx, v Version) (int64, error) {
	var number int64
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) + 1 FROM versions WHERE app_id = ?`, v.AppID).Scan(&number); err != nil {
		return 0, fmt.Errorf("next version number: %w", err)
	}
	_, err := tx.Exec(ctx, `INSERT INTO versions (version_id, app_id, number, upload_id, bundle_id, state, error, metadata, creator_id, created_at, live_at)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, 0)`,
		v.ID, v.AppID, number, v.UploadID, v.BundleID, Pending, v.Metadata, v.CreatorID, millis(v.CreatedAt))
	if err != nil {
		return 0, fmt.Errorf("insert version: %w", err)
	}
	return number, nil
}

// DeletePending takes back a version whose deploy never began.
func (s *Store) DeletePending(ctx context.Context, versionID string) error {
	if _, err := s.db.Exec(ctx, `DELETE FROM versions WHERE version_id = ? AND state = ?`, versionID, Pending); err != nil {
		return fmt.Errorf("take back version: %w", err)
	}
	return nil
}

// LiveVersion finds the live version of an app.
func (s *Store) LiveVersion(ctx context.Context, tx *sqldb.Tx, appID string) (Version, error) {
	v, err := scanVersion(tx.QueryRow(ctx, selectVersion+` WHERE app_id = ? AND state = ?`, appID, Live))
	return one(v, err, "no live version")
}

// overtaken is why a version that nobody waited for never served.
const overtaken = "a newer version was deployed before this one had begun"

// Switches tells in tx which switch of the scheduler made an app's live version live.
func (s *Store) Switches(ctx context.Context, tx *sqldb.Tx, appID string) (int64, error) {
	var n int64
	if err := tx.QueryRow(ctx, `SELECT switches FROM apps WHERE app_id = ?`, appID).Scan(&n); err != nil {
		return one(n, err, "no such app")
	}
	return n, nil
}

// A Switch is what the scheduler tells of how a version became live.
type Switch struct {
	// Number is which switch of the app it was; 0: not known.
	Number int64
	// By is the user who had it done.
	By string
	// UserParams are dotted names of what each user of the app brings.
	UserParams []string
}

// MarkLive makes a version the live one of its app, by a switch of the scheduler, and ends
// what came before it.
func (s *Store) MarkLive(ctx context.Context, tx *sqldb.Tx, v Version, by Switch, now time.Time) error {
	text, err := json.Marshal(append([]string{}, by.UserParams...))
	if err != nil {
		return err
	}
	steps := []struct {
		query string
		args  []any
	}{
		{`UPDATE versions SET state = ? WHERE app_id = ? AND state = ?`, []any{Retired, v.AppID, Live}},
		{`UPDATE versions SET state = ? WHERE app_id = ? AND state = ? AND number < ?`, []any{Retired, v.AppID, Ready, v.Number}},
		{`UPDATE versions SET state = ?, error = ? WHERE app_id = ? AND state = ? AND number < ?`, []any{Failed, overtaken, v.AppID, Pending, v.Number}},
		{`UPDATE versions SET state = ?, error = '', live_at = ?, live_by = ? WHERE version_id = ?`, []any{Live, millis(now), by.By, v.ID}},
		{`UPDATE apps SET live_version_id = ?, user_params = ?, switches = ?, updated_at = ? WHERE app_id = ?`, []any{v.ID, string(text), by.Number, millis(now), v.AppID}},
		{`UPDATE addresses SET ready = ? WHERE target_id = ?`, []any{true, v.AppID}},
	}
	for _, step := range steps {
		if _, err := tx.Exec(ctx, step.query, step.args...); err != nil {
			return fmt.Errorf("mark version live: %w", err)
		}
	}
	return nil
}

// MarkRetired records of a version that it served, and that a newer one does now.
func (s *Store) MarkRetired(ctx context.Context, tx *sqldb.Tx, versionID string, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE versions SET state = ?, error = '', live_at = ? WHERE version_id = ? AND state IN (?, ?, ?)`,
		Retired, millis(now), versionID, Pending, Ready, Failed)
	if err != nil {
		return fmt.Errorf("mark version retired: %w", err)
	}
	return nil
}

// MarkFailed records why a pending version did not become live.
func (s *Store) MarkFailed(ctx context.Context, tx *sqldb.Tx, versionID, reason string) error {
	_, err := tx.Exec(ctx, `UPDATE versions SET state = ?, error = ? WHERE version_id = ? AND state = ?`, Failed, reason, versionID, Pending)
	if err != nil {
		return fmt.Errorf("mark version failed: %w", err)
	}
	return nil
}

// MarkReady records of a pending version that it is up and waits; older ones that did do
// not any more.
func (s *Store) MarkReady(ctx context.Context, tx *sqldb.Tx, v Version) error {
	_, err := tx.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ? AND state = ?`, Ready, v.ID, Pending)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ? WHERE app_id = ? AND state = ? AND number < ?`, Retired, v.AppID, Ready, v.Number)
	}
	if err != nil {
		return fmt.Errorf("mark version ready: %w", err)
	}
	return nil
}

// MarkTried records that a version that does not serve is up again, to be tried.
func (s *Store) MarkTried(ctx context.Context, tx *sqldb.Tx, versionID string) error {
	if _, err := tx.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ? AND state = ?`, Ready, versionID, Retired); err != nil {
		return fmt.Errorf("mark version tried: %w", err)
	}
	return nil
}

// MarkUntried records that a version that waited is over, for its trial is.
func (s *Store) MarkUntried(ctx context.Context, tx *sqldb.Tx, versionID string) error {
	if _, err := tx.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ? AND state = ?`, Retired, versionID, Ready); err != nil {
		return fmt.Errorf("mark version untried: %w", err)
	}
	return nil
}

// MarkDeleted records that a version is gone for good; a live one cannot be.
func (s *Store) MarkDeleted(ctx context.Context, tx *sqldb.Tx, versionID string) error {
	if _, err := tx.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ? AND state <> ?`, Deleted, versionID, Live); err != nil {
		return fmt.Errorf("mark version deleted: %w", err)
	}
	return nil
}
