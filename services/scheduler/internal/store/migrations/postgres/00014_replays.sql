-- +goose Up
ALTER TABLE versions ADD COLUMN replays TEXT NOT NULL DEFAULT ''; -- JSON: what past runs would do on it; empty: not looked at

-- +goose Down
ALTER TABLE versions DROP COLUMN replays;
