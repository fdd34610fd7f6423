-- +goose Up
ALTER TABLE targets ADD COLUMN switches BIGINT NOT NULL DEFAULT 0; -- how often its live version changed
ALTER TABLE versions ADD COLUMN switched BIGINT NOT NULL DEFAULT 0; -- which of those switches made it live, the last time; 0: none
ALTER TABLE versions ADD COLUMN warm_until BIGINT NOT NULL DEFAULT 0; -- until when it stays up although it drains; 1: not any more
ALTER TABLE versions ADD COLUMN held TEXT NOT NULL DEFAULT ''; -- why it waits to be promoted
ALTER TABLE versions ADD COLUMN tool_changes TEXT NOT NULL DEFAULT ''; -- JSON: how its tools differ from those before; empty: none were before
UPDATE versions SET switched = number WHERE state IN ('live', 'draining', 'gone');
UPDATE targets SET switches = COALESCE((SELECT MAX(switched) FROM versions WHERE versions.target_id = targets.target_id), 0);

-- +goose Down
ALTER TABLE versions DROP COLUMN tool_changes;
ALTER TABLE versions DROP COLUMN held;
ALTER TABLE versions DROP COLUMN warm_until;
ALTER TABLE versions DROP COLUMN switched;
ALTER TABLE targets DROP COLUMN switches;
