-- +goose Up
ALTER TABLE versions ADD COLUMN variables TEXT NOT NULL DEFAULT '{}'; -- JSON: environment variable to secret handle

-- +goose Down
ALTER TABLE versions DROP COLUMN variables;
