package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// User is a row of users.
type User struct {
	ID, OrgID, Name, Email string
	Admin                  bool
}

// Key is a row of api_keys.
type Key struct {
	ID, UserID, Hash, Name, Hint string
	CreatedAt, ExpiresAt         time.Time
	Revoked                      bool
}

const selectUser = `SELECT user_id, org_id, name, email, admin FROM users`

func scanUser(row scanner) (User, error) {
	var u User
	return u, row.Scan(&u.ID, &u.OrgID, &u.Name, &u.Email, &u.Admin)
}

// InsertOrg adds an organisation.
func (s *Store) InsertOrg(ctx context.Context, tx *sqldb.Tx, orgID, name string, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO orgs (org_id, name, created_at) VALUES (?, ?, ?)`, orgID, name, millis(now))
	if err != nil {
		return fmt.Errorf("insert organisation: %w", err)
	}
	return nil
}

// InsertUser adds a user; the error is unique when the mail address is taken.
func (s *Store) InsertUser(ctx context.Context, tx *sqldb.Tx, u User, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO users (user_id, org_id, name, email, admin, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		u.ID, u.OrgID, u.Name, u.Email, u.Admin, millis(now))
	if err != nil {
		return fmt.Errorf("insert user: %w", err)
	}
	return nil
}

// FindUser finds a user by id.
func (s *Store) FindUser(ctx context.Context, userID string) (User, error) {
	u, err := scanUser(s.db.QueryRow(ctx, selectUser+` WHERE user_id = ?`, userID))
	return one(u, err, "no such user")
}

// FindUserByEmail finds a user by mail address.
func (s *Store) FindUserByEmail(ctx context.Context, email string) (User, error) {
	u, err := scanUser(s.db.QueryRow(ctx, selectUser+` WHERE email = ?`, email))
	return one(u, err, "no such user")
}

const selectKey = `SELECT key_id, user_id, hash, name, hint, created_at, expires_at, revoked FROM api_keys`

func scanKey(row scanner) (Key, error) {
	var k Key
	var created, expires int64
	err := row.Scan(&k.ID, &k.UserID, &k.Hash, &k.Name, &k.Hint, &created, &expires, &k.Revoked)
	k.CreatedAt, k.ExpiresAt = fromMillis(created), fromMillis(expires)
	return k, err
}

// InsertKey adds a key.
func (s *Store) InsertKey(ctx context.Context, tx *sqldb.Tx, k Key) error {
	_, err := tx.Exec(ctx, `INSERT INTO api_keys (key_id, user_id, hash, name, hint, created_at, expires_at, revoked)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		k.ID, k.UserID, k.Hash, k.Name, k.Hint, millis(k.CreatedAt), millis(k.ExpiresAt), false)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return nil
}

// FindKey finds a key by its hash.
func (s *Store) FindKey(ctx context.Context, hash string) (Key, error) {
	k, err := scanKey(s.db.QueryRow(ctx, selectKey+` WHERE hash = ?`, hash))
	return one(k, err, "no such key")
}

// ListKeys lists a user's keys that are not revoked, newest first.
func (s *Store) ListKeys(ctx context.Context, userID string, limit int) ([]Key, error) {
	rows, err := s.db.Query(ctx, selectKey+` WHERE user_id = ? AND revoked = ? ORDER BY created_at DESC, key_id DESC LIMIT ?`, userID, false, limit)
	return collect(rows, err, scanKey)
}

// RevokeKey revokes a user's key and says whether there was one.
func (s *Store) RevokeKey(ctx context.Context, tx *sqldb.Tx, userID, keyID string) (bool, error) {
	res, err := tx.Exec(ctx, `UPDATE api_keys SET revoked = ? WHERE user_id = ? AND key_id = ?`, true, userID, keyID)
	if err != nil {
		return false, fmt.Errorf("revoke key: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
