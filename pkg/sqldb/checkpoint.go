package sqldb

import (
	"context"
	"database/sql"
	"sync"
)

// checkpointEvery is how many commits come between two checkpoints.
const checkpointEvery = 64

// writeAheadLog brings what the log holds into the file now and then, beside the writer:
// by itself SQLite does so in the commit that fills the log, for which a run's start then
// waited 35 ms (https://sqlite.org/wal.html#ckpt).
type writeAheadLog struct {
	on *sql.DB

	mu      sync.Mutex
	commits int
	busy    bool
	closed  bool
	group   sync.WaitGroup
}

// grew counts a commit.
func (l *writeAheadLog) grew() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.commits++; l.commits < checkpointEvery || l.busy || l.closed {
		return
	}
	l.commits, l.busy = 0, true
	l.group.Go(l.checkpoint)
}

// checkpoint makes no writer wait. One that fails is made up for by the next, or by the
// commit that finds the log full.
func (l *writeAheadLog) checkpoint() {
	_, _ = l.on.ExecContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
}

// end waits for the checkpoint that is under way.
func (l *writeAheadLog) end() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.group.Wait()
}
