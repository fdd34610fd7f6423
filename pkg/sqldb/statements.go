package sqldb

import (
	"context"
	"database/sql"
	"sync"
)

// mostStatements bounds how many texts of statements are kept prepared.
const mostStatements = 256

// statements keep what is asked prepared: to compile a short statement takes SQLite as
// long as to run it. No statement is used twice at once on a connection: outside of
// transactions it has one set of rows open at a time, and inside of them those that leave
// rows open are run as they are. Postgres' driver does so by itself.
type statements struct {
	db *sql.DB

	mu   sync.Mutex
	kept map[string]*sql.Stmt
}

func keepStatements(db *sql.DB) *statements { return &statements{db: db, kept: map[string]*sql.Stmt{}} }

// of finds a statement, or prepares it; nil where it is to be run as it is.
func (s *statements) of(ctx context.Context, query string) *sql.Stmt {
	if s == nil {
		return nil
	}
	kept, full := s.find(query) //nolint:sqlclosecheck // kept as long as the database
	if kept != nil || full {
		return kept
	}
	made, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil // whoever runs it is told
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept = s.kept[query]; kept != nil {
		defer made.Close() //nolint:errcheck // another was quicker
		return kept
	}
	s.kept[query] = made
	return made
}

func (s *statements) find(query string) (kept *sql.Stmt, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[query], len(s.kept) >= mostStatements
}
