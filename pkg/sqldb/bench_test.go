package sqldb_test

import (
	"context"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
)

// BenchmarkTx writes one row in a transaction, with and without waiting for the disk.
func BenchmarkTx(b *testing.B) {
	db := dbtest.SQLite(b, nil)
	insert := func(ctx context.Context) func(*sqldb.Tx) error {
		return func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO outbox (message_id, subject, payload) VALUES (hex(randomblob(16)), ?, ?)`, "a.subject", []byte("payload"))
			return err
		}
	}
	for name, write := range map[string]func(context.Context, func(*sqldb.Tx) error) error{"on disk": db.Tx, "ahead": db.TxAhead} {
		b.Run(name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for b.Loop() {
				if err := write(ctx, insert(ctx)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
