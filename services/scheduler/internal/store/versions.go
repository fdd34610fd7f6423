package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// State is how far a version has come.
type State string

// The states of a version.
const (
	Pending  State = "pending"  // a deploy is under way
	Live     State = "live"     // it serves
	Draining State = "draining" // it served; open runs may still need it
	Failed   State = "failed"   // it never served
	Gone     State = "gone"     // it served and is over
)

// Capture is what the health gate recorded of a version. Texts ending in JSON are
// kept as the agent gave them, order of keys included.
type Capture struct {
	AppName               string   `json:"app_name"`
	Kind                  string   `json:"kind"`
	InitializeJSON        string   `json:"initialize"`
	ToolsJSON             string   `json:"tools"`
	PromptsJSON           string   `json:"prompts"`
	ResourcesJSON         string   `json:"resources"`
	ResourceTemplatesJSON string   `json:"resource_templates"`
	WorkflowsJSON         string   `json:"workflows"`
	SyncTools             []string `json:"sync_tools"`
	AsyncTools            []string `json:"async_tools"`
	Workflows             []string `json:"workflow_names"`
	// MCPURL is set for a server that runs elsewhere.
	MCPURL string `json:"mcp_url,omitempty"`
	// Modern says that it speaks the stateless era too; DiscoverJSON is what it said there.
	Modern       bool   `json:"modern,omitempty"`
	DiscoverJSON string `json:"discover,omitempty"`
	// ModernOnly says that it knows no sessions.
	ModernOnly bool `json:"modern_only,omitempty"`
}

// Version is one immutable deploy of a target.
type Version struct {
	ID, TargetID, AppID, OrgID, AppName string

	Number   int64
	BundleID string
	Params   map[string]string
	// Variables is environment variable name to secret handle.
	Variables map[string]string
	// Artifact is nil until it is built; its manifest has no settings in it.
	Artifact   *builderv1.Artifact
	UserParams []string
	Capture    Capture
	State      State
	Error      string
	CreatedAt  time.Time
}

const selectVersion = `SELECT version_id, target_id, app_id, org_id, app_name, number, bundle_id, params, artifact,
	user_params, capture, state, error, created_at, variables FROM versions`

func scanVersion(row scanner) (Version, error) {
	var v Version
	var params, artifact, userParams, capture, variables string
	var created int64
	err := row.Scan(&v.ID, &v.TargetID, &v.AppID, &v.OrgID, &v.AppName, &v.Number, &v.BundleID, &params, &artifact,
		&userParams, &capture, &v.State, &v.Error, &created, &variables)
	if err != nil {
		return v, err
	}
	v.CreatedAt = fromMillis(created)
	if artifact != "" {
		v.Artifact = &builderv1.Artifact{}
		err = protojson.Unmarshal([]byte(artifact), v.Artifact)
	}
	return v, errors.Join(err, fromJSON(params, &v.Params), fromJSON(userParams, &v.UserParams), fromJSON(capture, &v.Capture), fromJSON(variables, &v.Variables))
}

func insertVersion(ctx context.Context, tx *sqldb.Tx, v Version, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO versions (version_id, target_id, app_id, org_id, app_name, number, bundle_id, params,
		variables, artifact, user_params, capture, state, error, created_at, ended_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '[]', '{}', ?, '', ?, 0) ON CONFLICT (version_id) DO NOTHING`,
		v.ID, v.TargetID, v.AppID, v.OrgID, v.AppName, v.Number, v.BundleID, toJSON(v.Params), toJSON(v.Variables), Pending, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert version %s: %w", v.ID, err)
	}
	return nil
}

// Version finds a version; it fails with fault.NotFound.
func (s *Store) Version(ctx context.Context, versionID string) (Version, error) {
	return findVersion(ctx, s.db, versionID)
}

func findVersion(ctx context.Context, q querier, versionID string) (Version, error) {
	v, err := scanVersion(q.QueryRow(ctx, selectVersion+` WHERE version_id = ?`, versionID))
	if errors.Is(err, sql.ErrNoRows) {
		return Version{}, fault.NotFound.Wrap(err, "no such version: %s", versionID)
	}
	if err != nil {
		return Version{}, fmt.Errorf("find version %s: %w", versionID, err)
	}
	return v, nil
}

// VersionsIn lists the versions in any of two states, oldest first.
func (s *Store) VersionsIn(ctx context.Context, one, other State) ([]Version, error) {
	rows, err := s.db.Query(ctx, selectVersion+` WHERE state = ? OR state = ? ORDER BY created_at, version_id`, one, other)
	return collect(rows, err, "versions", scanVersion)
}

// VersionsOf lists the versions of a target that may have processes, newest first.
func (s *Store) VersionsOf(ctx context.Context, targetID string) ([]Version, error) {
	rows, err := s.db.Query(ctx, selectVersion+` WHERE target_id = ? AND state <> ? AND state <> ? ORDER BY number DESC`,
		targetID, Failed, Gone)
	return collect(rows, err, "versions", scanVersion)
}

// SetArtifact records what was built for a pending version. Settings and the
// overlay are left out, since a careless upload may carry clear secrets in them.
func (s *Store) SetArtifact(ctx context.Context, versionID string, a *builderv1.Artifact) error {
	kept := proto.Clone(a).(*builderv1.Artifact)
	if m := kept.GetManifest(); m != nil {
		m.SettingsJson, m.SecretsJson = "", ""
	}
	text, err := protojson.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode artifact: %w", err)
	}
	_, err = s.db.Exec(ctx, `UPDATE versions SET artifact = ?, user_params = ? WHERE version_id = ?`,
		string(text), toJSON(a.GetManifest().GetUserParams()), versionID)
	if err != nil {
		return fmt.Errorf("record artifact: %w", err)
	}
	return nil
}

// SetCapture records what the health gate saw.
func (s *Store) SetCapture(ctx context.Context, versionID string, c Capture) error {
	_, err := s.db.Exec(ctx, `UPDATE versions SET capture = ? WHERE version_id = ?`, toJSON(c), versionID)
	if err != nil {
		return fmt.Errorf("record capture: %w", err)
	}
	return nil
}

// Switch makes the pending version the live one and the live one draining, in tx.
// A second time it changes nothing and says so. It fails with fault.Conflict when the
// target is gone or wants another version now.
func (s *Store) Switch(ctx context.Context, tx *sqldb.Tx, targetID, versionID string, now time.Time) (again bool, err error) {
	t, err := findTarget(ctx, tx, targetID)
	if fault.NotFound.Is(err) {
		return false, fault.Conflict.Wrap(err, "the app was deleted")
	}
	switch {
	case err != nil:
		return false, err
	case t.Live == versionID:
		return true, nil
	case t.Removing || t.Pending != versionID:
		return false, fault.Conflict.Errorf("the app does not wait for this version any more")
	}
	_, err = tx.Exec(ctx, `UPDATE targets SET live_version = ?, pending_version = '', updated_at = ? WHERE target_id = ?`,
		versionID, now.UnixMilli(), targetID)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ?`, Live, versionID)
	}
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, ended_at = ? WHERE target_id = ? AND state = ? AND version_id <> ?`,
			Draining, now.UnixMilli(), targetID, Live, versionID)
	}
	if err != nil {
		return false, fmt.Errorf("switch %s to %s: %w", targetID, versionID, err)
	}
	return false, nil
}

// NewestDraining is the version that served last before the live one and has not
// been retired; empty when there is none.
func (s *Store) NewestDraining(ctx context.Context, targetID string) (string, error) {
	var versionID string
	err := s.db.QueryRow(ctx, `SELECT version_id FROM versions WHERE target_id = ? AND state = ? ORDER BY ended_at DESC, number DESC LIMIT 1`,
		targetID, Draining).Scan(&versionID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find draining version of %s: %w", targetID, err)
	}
	return versionID, nil
}

// Fail records in tx that a pending version will not serve; false when that was
// known or it serves already.
func (s *Store) Fail(ctx context.Context, tx *sqldb.Tx, targetID, versionID, why string, now time.Time) (bool, error) {
	failed, err := changed(tx.Exec(ctx, `UPDATE versions SET state = ?, error = ?, ended_at = ? WHERE version_id = ? AND state = ?`,
		Failed, why, now.UnixMilli(), versionID, Pending))
	if err != nil || !failed {
		return failed, err
	}
	_, err = tx.Exec(ctx, `UPDATE targets SET pending_version = '', updated_at = ? WHERE target_id = ? AND pending_version = ?`,
		now.UnixMilli(), targetID, versionID)
	if err != nil {
		return false, fmt.Errorf("clear pending version: %w", err)
	}
	return true, nil
}

// Retire records that a draining version is over.
func (s *Store) Retire(ctx context.Context, versionID string, now time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE versions SET state = ?, ended_at = ? WHERE version_id = ? AND state = ?`,
		Gone, now.UnixMilli(), versionID, Draining)
	if err != nil {
		return fmt.Errorf("retire version: %w", err)
	}
	return nil
}
