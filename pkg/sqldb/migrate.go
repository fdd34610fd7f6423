package sqldb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// common holds the tables that every room has: outbox and inbox.
//
//go:embed common
var common embed.FS

// migrate applies the common tables and the room's own, each under its own version table.
func (db *DB) migrate(ctx context.Context, room fs.FS) error {
	shared, err := fs.Sub(common, "common")
	if err != nil {
		return err
	}
	if err := db.apply(ctx, shared, "common_schema_version"); err != nil {
		return fmt.Errorf("migrate common tables: %w", err)
	}
	if room == nil {
		return nil
	}
	if err := db.apply(ctx, room, "schema_version"); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func (db *DB) apply(ctx context.Context, files fs.FS, table string) error {
	own, err := fs.Sub(files, db.dialect.name)
	if err != nil {
		return err
	}
	versions, err := database.NewStore(db.dialect.goose, table)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider("", db.write, own, goose.WithStore(versions))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
