package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Outcomes counts calls that a version has answered. Latencies are how many of them took
// at most 1, 2, 4 … ms each, and the rest.
type Outcomes struct {
	Calls     int64   `json:"calls"`
	Failures  int64   `json:"failures"`
	Latencies []int64 `json:"latencies,omitempty"`
}

// Plus is the sum of both.
func (o Outcomes) Plus(more Outcomes) Outcomes { return o.with(more, 1) }

// Since is what came after before.
func (o Outcomes) Since(before Outcomes) Outcomes { return o.with(before, -1) }

func (o Outcomes) with(other Outcomes, sign int64) Outcomes {
	sum := Outcomes{Calls: o.Calls + sign*other.Calls, Failures: o.Failures + sign*other.Failures}
	sum.Latencies = make([]int64, max(len(o.Latencies), len(other.Latencies)))
	copy(sum.Latencies, o.Latencies)
	for i, n := range other.Latencies {
		sum.Latencies[i] += sign * n
	}
	return sum
}

// What a user has seen of a rollout.
const (
	SawLive   = 1
	SawCanary = 2
	SawError  = 4 // of the version that is tried
)

// mostUsers bounds the users of a rollout that are told apart, mostGateways the processes
// that tell of it, and userRows what one statement adds.
const (
	mostUsers    = 200_000
	mostGateways = 1000
	userRows     = 300
)

// Report is what one gateway has seen of a rollout.
type Report struct {
	RolloutID, GatewayID string

	// Outcomes are by version, since the gateway knows of the rollout.
	Outcomes map[string]Outcomes
	// Users are what users, by hash, have seen that had not been told before.
	Users map[uint64]int
}

// PutReport records in tx what a gateway tells. One that was told before changes nothing.
func (s *Store) PutReport(ctx context.Context, tx *sqldb.Tx, r Report) error {
	if err := putOutcomes(ctx, tx, r); err != nil {
		return err
	}
	var known int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM rollout_users WHERE rollout_id = ?`, r.RolloutID).Scan(&known); err != nil {
		return fmt.Errorf("count users of a rollout: %w", err)
	}
	hashes := slices.Collect(maps.Keys(r.Users))
	for chunk := range slices.Chunk(hashes[:min(len(hashes), max(mostUsers-known, 0))], userRows) {
		args := make([]any, 0, 3*len(chunk))
		for _, hash := range chunk {
			args = append(args, r.RolloutID, int64(hash), r.Users[hash]) //nolint:gosec // a hash is any 64 bits
		}
		_, err := tx.Exec(ctx, `INSERT INTO rollout_users (rollout_id, user_hash, seen) VALUES `+strings.Repeat(", (?, ?, ?)", len(chunk))[2:]+
			` ON CONFLICT (rollout_id, user_hash) DO UPDATE SET seen = rollout_users.seen | excluded.seen`, args...)
		if err != nil {
			return fmt.Errorf("record users of a rollout: %w", err)
		}
	}
	return nil
}

func putOutcomes(ctx context.Context, tx *sqldb.Tx, r Report) error {
	var gateways int
	if err := tx.QueryRow(ctx, `SELECT COUNT(DISTINCT gateway_id) FROM rollout_counts WHERE rollout_id = ? AND gateway_id <> ?`, r.RolloutID, r.GatewayID).Scan(&gateways); err != nil {
		return fmt.Errorf("count gateways of a rollout: %w", err)
	}
	if gateways >= mostGateways {
		return nil
	}
	for versionID, o := range r.Outcomes {
		_, err := tx.Exec(ctx, `INSERT INTO rollout_counts (rollout_id, gateway_id, version_id, calls, failures, latencies) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (rollout_id, gateway_id, version_id) DO UPDATE SET calls = excluded.calls, failures = excluded.failures, latencies = excluded.latencies
			WHERE excluded.calls >= rollout_counts.calls`, r.RolloutID, r.GatewayID, versionID, o.Calls, o.Failures, toJSON(o.Latencies))
		if err != nil {
			return fmt.Errorf("record outcomes of a rollout: %w", err)
		}
	}
	return nil
}

// RolloutOutcomes sums what gateways have seen of a rollout, by version.
func (s *Store) RolloutOutcomes(ctx context.Context, rolloutID string) (map[string]Outcomes, error) {
	return outcomes(ctx, s.db, rolloutID)
}

func outcomes(ctx context.Context, q querier, rolloutID string) (map[string]Outcomes, error) {
	type row struct {
		versionID string
		Outcomes
	}
	rows, err := q.Query(ctx, `SELECT version_id, calls, failures, latencies FROM rollout_counts WHERE rollout_id = ?`, rolloutID)
	all, err := collect(rows, err, "outcomes of a rollout", func(sc scanner) (r row, err error) {
		var latencies string
		if err = sc.Scan(&r.versionID, &r.Calls, &r.Failures, &latencies); err == nil {
			err = fromJSON(latencies, &r.Latencies)
		}
		return r, err
	})
	sums := map[string]Outcomes{}
	for _, r := range all {
		sums[r.versionID] = sums[r.versionID].Plus(r.Outcomes)
	}
	return sums, err
}

// RolloutUsers counts the users that called during a rollout, those that the tried version
// has served, and those that saw an error of it.
type RolloutUsers struct{ All, Canary, Failed int64 }

// RolloutUsers counts them.
func (s *Store) RolloutUsers(ctx context.Context, rolloutID string) (RolloutUsers, error) {
	var u RolloutUsers
	err := s.db.QueryRow(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN (seen & 2) <> 0 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN (seen & 4) <> 0 THEN 1 ELSE 0 END), 0) FROM rollout_users WHERE rollout_id = ?`, rolloutID).Scan(&u.All, &u.Canary, &u.Failed)
	if err != nil {
		return u, fmt.Errorf("count users of a rollout: %w", err)
	}
	return u, nil
}

// forgetOutcomes deletes what was told of the rollouts whose id fits.
func forgetOutcomes(ctx context.Context, tx *sqldb.Tx, fits string, args ...any) error {
	for _, table := range []string{"rollout_users", "rollout_counts"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE rollout_id `+fits, args...); err != nil {
			return fmt.Errorf("delete %s: %w", table, err)
		}
	}
	return nil
}
