-- +goose Up
ALTER TABLE questions ADD COLUMN answered_by TEXT NOT NULL DEFAULT ''; -- user id; empty: a room or an anonymous caller
ALTER TABLE questions ADD COLUMN answered_at INTEGER NOT NULL DEFAULT 0; -- milliseconds since 1970; 0: not yet

-- +goose Down
ALTER TABLE questions DROP COLUMN answered_at;
ALTER TABLE questions DROP COLUMN answered_by;
