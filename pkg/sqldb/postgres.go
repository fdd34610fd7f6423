package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const maxPostgresConns = 16

var postgresDialect = dialect{name: "postgres", goose: goose.DialectPostgres, numbered: true, isCollide: isPostgresCollision}

// openPostgres connects and makes the schema that search_path names.
func openPostgres(ctx context.Context, dsn string) (*DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the database address is no valid postgres:// URL") // the cause may quote the password
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(maxPostgresConns)
	if schema := config.RuntimeParams["search_path"]; schema != "" {
		if strings.ContainsAny(schema, `",`) {
			return nil, errors.Join(fmt.Errorf("search_path %q must be one plain schema name", schema), db.Close())
		}
		if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{schema}.Sanitize()); err != nil && !isPostgresUnique(err) {
			return nil, errors.Join(fmt.Errorf("make schema %s: %w", schema, err), db.Close())
		}
	}
	return &DB{write: db, read: db, dialect: postgresDialect, commits: make(chan struct{}, 1)}, nil
}

func postgresCode(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

// isPostgresCollision knows serialization_failure and deadlock_detected
// (PostgreSQL documentation, appendix A).
func isPostgresCollision(err error) bool {
	code := postgresCode(err)
	return code == "40001" || code == "40P01"
}

func isPostgresUnique(err error) bool { return postgresCode(err) == "23505" }
