package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Instance is who holds a pair of tokens: one launch of a version.
type Instance struct {
	ID, TargetID, AppID, OrgID, VersionID string
	// EdgeHash and CallbackHash are hashes of its two tokens.
	EdgeHash, CallbackHash string
}

const selectInstance = `SELECT instance_id, target_id, app_id, org_id, version_id, edge_hash, callback_hash FROM instances`

func scanInstance(row scanner) (Instance, error) {
	var i Instance
	err := row.Scan(&i.ID, &i.TargetID, &i.AppID, &i.OrgID, &i.VersionID, &i.EdgeHash, &i.CallbackHash)
	return i, err
}

// ReplaceInstance records the launch of a version and forgets its earlier ones.
func (s *Store) ReplaceInstance(ctx context.Context, i Instance, now time.Time) error {
	_, err := s.db.Exec(ctx, `INSERT INTO instances (instance_id, target_id, app_id, org_id, version_id, edge_hash, callback_hash, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, i.ID, i.TargetID, i.AppID, i.OrgID, i.VersionID, i.EdgeHash, i.CallbackHash, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert instance: %w", err)
	}
	_, err = s.db.Exec(ctx, `DELETE FROM instances WHERE target_id = ? AND version_id = ? AND instance_id <> ?`, i.TargetID, i.VersionID, i.ID)
	if err != nil {
		return fmt.Errorf("delete earlier instances: %w", err)
	}
	return nil
}

// ForgetInstances makes the tokens of a version worthless.
func (s *Store) ForgetInstances(ctx context.Context, targetID, versionID string) error {
	if _, err := s.db.Exec(ctx, `DELETE FROM instances WHERE target_id = ? AND version_id = ?`, targetID, versionID); err != nil {
		return fmt.Errorf("delete instances: %w", err)
	}
	return nil
}

// InstanceByEdge finds who holds an edge token; it fails with fault.NotFound.
func (s *Store) InstanceByEdge(ctx context.Context, hash string) (Instance, error) {
	return s.instance(ctx, `edge_hash`, hash)
}

// InstanceByCallback finds who holds a callback token; it fails with fault.NotFound.
func (s *Store) InstanceByCallback(ctx context.Context, hash string) (Instance, error) {
	return s.instance(ctx, `callback_hash`, hash)
}

func (s *Store) instance(ctx context.Context, column, hash string) (Instance, error) {
	i, err := scanInstance(s.db.QueryRow(ctx, selectInstance+` WHERE `+column+` = ?`, hash))
	if errors.Is(err, sql.ErrNoRows) {
		return Instance{}, fault.NotFound.Wrap(err, "no agent holds this token")
	}
	if err != nil {
		return Instance{}, fmt.Errorf("find instance: %w", err)
	}
	return i, nil
}
