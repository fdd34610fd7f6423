-- +goose Up
CREATE TABLE sleepers (
    version_id TEXT   NOT NULL,
    role       TEXT   NOT NULL, -- server, worker
    target_id  TEXT   NOT NULL,
    org_id     TEXT   NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (version_id, role)
);
CREATE INDEX sleepers_by_target ON sleepers (target_id);
CREATE INDEX runs_open_by_target ON runs (target_id) WHERE closed_at = 0;

-- +goose Down
DROP INDEX runs_open_by_target;
DROP TABLE sleepers;
