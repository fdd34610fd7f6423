package store

import (
	"context"
	"fmt"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Placed is a target with its address, as the gateway's table has it.
type Placed struct {
	TargetID, AppID, OrgID, AppName string
	Address                         Address
	Unauthenticated                 bool
	UserID                          string // of a configuration
}

// InsertAddress gives a target its address; the error is unique when it is taken.
func (s *Store) InsertAddress(ctx context.Context, tx *sqldb.Tx, targetID string, at Address) error {
	_, err := tx.Exec(ctx, `INSERT INTO addresses (target_id, host, port, ready) VALUES (?, ?, ?, ?)`,
		targetID, nullText(at.Host), nullNumber(at.Port), false)
	if err != nil {
		return fmt.Errorf("insert address: %w", err)
	}
	return nil
}

// TakenPorts lists the ports in use.
func (s *Store) TakenPorts(ctx context.Context) (map[int]bool, error) {
	rows, err := s.db.Query(ctx, `SELECT port FROM addresses WHERE port IS NOT NULL`)
	ports, err := collect(rows, err, func(row scanner) (int, error) {
		var port int
		return port, row.Scan(&port)
	})
	taken := make(map[int]bool, len(ports))
	for _, port := range ports {
		taken[port] = true
	}
	return taken, err
}

// SetReady says whether a target's server can be called.
func (s *Store) SetReady(ctx context.Context, tx *sqldb.Tx, targetID string, ready bool) error {
	if _, err := tx.Exec(ctx, `UPDATE addresses SET ready = ? WHERE target_id = ?`, ready, targetID); err != nil {
		return fmt.Errorf("set ready: %w", err)
	}
	return nil
}

// ListAddresses lists all addresses.
func (s *Store) ListAddresses(ctx context.Context) ([]Placed, error) {
	rows, err := s.db.Query(ctx, `
		SELECT a.app_id AS target_id, a.app_id, a.org_id, a.name, d.host, d.port, d.ready, a.unauthenticated, ''
		FROM apps a JOIN addresses d ON d.target_id = a.app_id
		UNION ALL
		SELECT c.configuration_id, a.app_id, a.org_id, a.name, d.host, d.port, d.ready, a.unauthenticated, c.creator_id
		FROM configurations c JOIN apps a ON a.app_id = c.app_id JOIN addresses d ON d.target_id = c.configuration_id`)
	return collect(rows, err, func(row scanner) (Placed, error) {
		var p Placed
		var address nullAddress
		err := row.Scan(&p.TargetID, &p.AppID, &p.OrgID, &p.AppName, &address.host, &address.port, &address.ready, &p.Unauthenticated, &p.UserID)
		p.Address = address.value()
		return p, err
	})
}
