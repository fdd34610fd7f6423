package server

import (
	"context"
	"database/sql"
	"time"
)

const (
	// Between checkpoints, while much is written and while little is.
	oftenEvery, seldomEvery = 100 * time.Millisecond, 5 * time.Second
	// muchWritten is how many pages of 4 KiB are worth a checkpoint soon.
	muchWritten = 250
)

// checkpoints brings what the write-ahead log holds into the file, until ctx ends, on a
// connection that makes no writer wait
// (https://sqlite.org/c3ref/wal_checkpoint_v2.html, SQLITE_CHECKPOINT_PASSIVE). By itself
// SQLite does so in the commit that fills the log.
func checkpoints(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=synchronous=normal")
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // it wrote nothing of its own
	every, before := oftenEvery, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
		var busy, length, done int
		// A checkpoint that fails is made up for by the next, or by the commit that finds the log full.
		_ = db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &length, &done)
		written := length - before
		if written < 0 { // it began anew
			written = length
		}
		every, before = min(2*every, seldomEvery), length
		if written > muchWritten {
			every = oftenEvery
		}
	}
}
