-- +goose Up
CREATE TABLE schedules (
    target_id  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    org_id     TEXT   NOT NULL,
    spec       TEXT   NOT NULL, -- protojson
    declared   TEXT   NOT NULL, -- JSON: what agentcloud.yaml says beside the spec; empty: made by hand
    state      TEXT   NOT NULL, -- ready, applying, deleting
    intent     TEXT   NOT NULL, -- JSON: what is to be done in Temporal besides
    applied    TEXT   NOT NULL, -- digest of what Temporal has
    revision   BIGINT NOT NULL,
    created_by TEXT   NOT NULL, -- user id; empty: a deploy
    created_at BIGINT NOT NULL, -- Unix milliseconds, here and below
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (target_id, name)
);
CREATE INDEX schedules_by_state ON schedules (state);

-- +goose Down
DROP TABLE schedules;
