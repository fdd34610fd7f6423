-- +goose Up
ALTER TABLE versions ADD COLUMN live_by TEXT NOT NULL DEFAULT ''; -- the user who had it made live, the last time

-- +goose Down
ALTER TABLE versions DROP COLUMN live_by;
