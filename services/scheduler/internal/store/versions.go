package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// State is how far a version has come.
type State string

// The states of a version.
const (
	Pending  State = "pending"  // a deploy is under way
	Ready    State = "ready"    // it is up and waits to be promoted
	Live     State = "live"     // it serves
	Draining State = "draining" // it is up and does not serve; open runs may still need it
	Failed   State = "failed"   // it never served
	Gone     State = "gone"     // it is over, and can be promoted again
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
	// Retries say how its activities are tried.
	Retries   []agentenv.Retry
	Capture   Capture
	State     State
	Error     string
	CreatedAt time.Time
	// Switched is which switch of its target made it live, the last time; 0: none did.
	Switched int64
	// WarmUntil is until when it stays up although it drains.
	WarmUntil time.Time
	// Held is why it waits to be promoted.
	Held string
	// ToolChanges is how its tools differ from those that were live when it was deployed;
	// nil when none were, or nobody looked.
	ToolChanges *ToolChanges
}

const selectVersion = `SELECT version_id, target_id, app_id, org_id, app_name, number, bundle_id, params, artifact,
	user_params, capture, state, error, created_at, variables, retries, switched, warm_until, held, tool_changes FROM versions`

func scanVersion(row scanner) (Version, error) {
	var v Version
	var params, artifact, userParams, capture, variables, retries, changes string
	var created, warm int64
	err := row.Scan(&v.ID, &v.TargetID, &v.AppID, &v.OrgID, &v.AppName, &v.Number, &v.BundleID, &params, &artifact,
		&userParams, &capture, &v.State, &v.Error, &created, &variables, &retries, &v.Switched, &warm, &v.Held, &changes)
	if err != nil {
		return v, err
	}
	v.CreatedAt, v.WarmUntil = fromMillis(created), fromMillis(warm)
	if artifact != "" {
		v.Artifact = &builderv1.Artifact{}
		err = protojson.Unmarshal([]byte(artifact), v.Artifact)
	}
	return v, errors.Join(err, fromJSON(params, &v.Params), fromJSON(userParams, &v.UserParams), fromJSON(capture, &v.Capture),
		fromJSON(variables, &v.Variables), fromJSON(retries, &v.Retries), fromJSON(changes, &v.ToolChanges))
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

// VersionsIn lists the versions in any of the states, oldest first.
func (s *Store) VersionsIn(ctx context.Context, states ...State) ([]Version, error) {
	marks, args := strings.Repeat(", ?", len(states))[2:], make([]any, len(states))
	for i, state := range states {
		args[i] = state
	}
	rows, err := s.db.Query(ctx, selectVersion+` WHERE state IN (`+marks+`) ORDER BY created_at, version_id`, args...)
	return collect(rows, err, "versions", scanVersion)
}

// VersionsOf lists the versions of a target that may have processes, newest first.
func (s *Store) VersionsOf(ctx context.Context, targetID string) ([]Version, error) {
	rows, err := s.db.Query(ctx, selectVersion+` WHERE target_id = ? AND state <> ? AND state <> ? ORDER BY number DESC`,
		targetID, Failed, Gone)
	return collect(rows, err, "versions", scanVersion)
}

// SetArtifact records what was built for a pending version, and how its activities are
// tried. Settings and the overlay are left out, since a careless upload may carry clear
// secrets in them.
func (s *Store) SetArtifact(ctx context.Context, versionID string, a *builderv1.Artifact, retries []agentenv.Retry) error {
	kept := proto.Clone(a).(*builderv1.Artifact)
	if m := kept.GetManifest(); m != nil {
		m.SettingsJson, m.SecretsJson = "", ""
	}
	text, err := protojson.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode artifact: %w", err)
	}
	_, err = s.db.Exec(ctx, `UPDATE versions SET artifact = ?, user_params = ?, retries = ? WHERE version_id = ?`,
		string(text), toJSON(a.GetManifest().GetUserParams()), toJSON(retries), versionID)
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

// unwanted is true of a version that drains and that its target does not want back.
const unwanted = `state = ? AND NOT EXISTS (SELECT 1 FROM targets WHERE targets.target_id = versions.target_id AND targets.pending_version = versions.version_id)`

// Retire records that a draining version is over, unless it is about to be promoted.
func (s *Store) Retire(ctx context.Context, versionID string, now time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE versions SET state = ?, ended_at = ?, warm_until = 0 WHERE version_id = ? AND `+unwanted,
		Gone, now.UnixMilli(), versionID, Draining)
	if err != nil {
		return fmt.Errorf("retire version: %w", err)
	}
	return nil
}

// Unwanted says whether a version drains and nobody is about to promote it.
func (s *Store) Unwanted(ctx context.Context, versionID string) (bool, error) {
	var n int
	if err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM versions WHERE version_id = ? AND `+unwanted, versionID, Draining).Scan(&n); err != nil {
		return false, fmt.Errorf("look whether version %s drains: %w", versionID, err)
	}
	return n > 0, nil
}
