-- +goose Up
ALTER TABLE apps ADD COLUMN switches BIGINT NOT NULL DEFAULT 0; -- the scheduler's number of the switch that made live_version_id live

-- +goose Down
ALTER TABLE apps DROP COLUMN switches;
