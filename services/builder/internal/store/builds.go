package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Build is what a bundle was built into.
type Build struct {
	BundleID   string
	Rules      string
	ArtifactID string
	// Environments is place → digest: "app", or the name of a stdio server.
	Environments map[string]string
	MadeAt       time.Time
}

// SaveBuild records a build that is whole.
func (s *Store) SaveBuild(ctx context.Context, b Build) error {
	text, err := json.Marshal(b.Environments)
	if err != nil {
		return fmt.Errorf("marshal environments of build: %w", err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO builds (bundle_id, rules, artifact_id, environments, made_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (bundle_id, rules) DO UPDATE SET artifact_id = excluded.artifact_id,
			environments = excluded.environments, made_at = excluded.made_at`,
		b.BundleID, b.Rules, b.ArtifactID, string(text), b.MadeAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("record build: %w", err)
	}
	return nil
}

// FindBuild returns the build of a bundle under the rules, and whether there is one.
func (s *Store) FindBuild(ctx context.Context, bundleID, rules string) (Build, bool, error) {
	b, err := scanBuild(s.db.QueryRow(ctx, selectBuild+` WHERE bundle_id = ? AND rules = ?`, bundleID, rules))
	if errors.Is(err, sql.ErrNoRows) {
		return Build{}, false, nil
	}
	if err != nil {
		return Build{}, false, fmt.Errorf("find build: %w", err)
	}
	return b, true, nil
}

// Builds returns all builds.
func (s *Store) Builds(ctx context.Context) ([]Build, error) {
	rows, err := s.db.Query(ctx, selectBuild)
	if err != nil {
		return nil, fmt.Errorf("list builds: %w", err)
	}
	return collect(rows, scanBuild)
}

const selectBuild = `SELECT bundle_id, rules, artifact_id, environments, made_at FROM builds`

func scanBuild(row scanner) (Build, error) {
	var b Build
	var text string
	var made int64
	if err := row.Scan(&b.BundleID, &b.Rules, &b.ArtifactID, &text, &made); err != nil {
		return Build{}, err
	}
	b.MadeAt = time.UnixMilli(made)
	return b, json.Unmarshal([]byte(text), &b.Environments)
}

// Resolution is what a list of wishes came to.
type Resolution struct {
	Lock        string
	Environment string
	MadeAt      time.Time
}

// FindResolution returns what the wishes came to, and whether that is known.
func (s *Store) FindResolution(ctx context.Context, input string) (Resolution, bool, error) {
	var r Resolution
	var made int64
	row := s.db.QueryRow(ctx, `SELECT lock, environment, made_at FROM resolutions WHERE input = ?`, input)
	err := row.Scan(&r.Lock, &r.Environment, &made)
	if errors.Is(err, sql.ErrNoRows) {
		return Resolution{}, false, nil
	}
	if err != nil {
		return Resolution{}, false, fmt.Errorf("find resolution: %w", err)
	}
	r.MadeAt = time.UnixMilli(made)
	return r, true, nil
}

// SaveResolution remembers what the wishes came to.
func (s *Store) SaveResolution(ctx context.Context, input string, r Resolution) error {
	_, err := s.db.Exec(ctx, `INSERT INTO resolutions (input, lock, environment, made_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (input) DO UPDATE SET lock = excluded.lock, environment = excluded.environment, made_at = excluded.made_at`,
		input, r.Lock, r.Environment, r.MadeAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("record resolution: %w", err)
	}
	return nil
}

// Environment is a folder of installed packages.
type Environment struct {
	Digest string
	// Kind is KindEnvironment or KindTool.
	Kind   string
	UsedAt time.Time
}

// The kinds of environments.
const (
	KindEnvironment = "environment"
	KindTool        = "tool"
)

// UseEnvironment records an environment, or marks it as used now.
func (s *Store) UseEnvironment(ctx context.Context, e Environment) error {
	_, err := s.db.Exec(ctx, `INSERT INTO environments (digest, kind, used_at) VALUES (?, ?, ?)
		ON CONFLICT (digest) DO UPDATE SET used_at = excluded.used_at`, e.Digest, e.Kind, e.UsedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("record environment: %w", err)
	}
	return nil
}

// Environments returns those that were used last before the moment.
func (s *Store) Environments(ctx context.Context, before time.Time) ([]Environment, error) {
	rows, err := s.db.Query(ctx, `SELECT digest, kind, used_at FROM environments WHERE used_at < ? ORDER BY used_at`, before.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list environments: %w", err)
	}
	return collect(rows, func(row scanner) (Environment, error) {
		var e Environment
		var used int64
		err := row.Scan(&e.Digest, &e.Kind, &used)
		e.UsedAt = time.UnixMilli(used)
		return e, err
	})
}

// RemoveEnvironment forgets an environment unless it was used at or after the
// moment. It says whether it is gone.
func (s *Store) RemoveEnvironment(ctx context.Context, digest string, before time.Time) (bool, error) {
	var gone bool
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		res, err := tx.Exec(ctx, `DELETE FROM environments WHERE digest = ? AND used_at < ?`, digest, before.UnixMilli())
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		gone = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remove environment: %w", err)
	}
	return gone, nil
}

// PruneResolutions forgets what was resolved before the moment.
func (s *Store) PruneResolutions(ctx context.Context, before time.Time) error {
	if _, err := s.db.Exec(ctx, `DELETE FROM resolutions WHERE made_at < ?`, before.UnixMilli()); err != nil {
		return fmt.Errorf("prune resolutions: %w", err)
	}
	return nil
}
