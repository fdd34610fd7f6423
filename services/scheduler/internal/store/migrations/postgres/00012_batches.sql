-- +goose Up
CREATE TABLE batches (
    batch_id    TEXT   PRIMARY KEY,
    org_id      TEXT   NOT NULL,
    target_id   TEXT   NOT NULL,
    name        TEXT   NOT NULL, -- workflow class or tool
    user_id     TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- filling, running, paused, cancelling, completed, cancelled
    concurrency BIGINT NOT NULL,
    skipped     BIGINT NOT NULL DEFAULT 0,
    total       BIGINT NOT NULL DEFAULT 0, -- the numbers of items, kept with every change of one
    pending     BIGINT NOT NULL DEFAULT 0,
    running     BIGINT NOT NULL DEFAULT 0,
    completed   BIGINT NOT NULL DEFAULT 0,
    failed      BIGINT NOT NULL DEFAULT 0,
    cancelled   BIGINT NOT NULL DEFAULT 0,
    tenths      BIGINT NOT NULL DEFAULT 0, -- of the items that ended, as told by event
    created_at  BIGINT NOT NULL, -- Unix milliseconds, here and below
    started_at  BIGINT NOT NULL DEFAULT 0,
    ended_at    BIGINT NOT NULL DEFAULT 0  -- 0 while it is not over
);
CREATE INDEX batches_by_org ON batches (org_id, created_at);
CREATE INDEX batches_by_state ON batches (state);
CREATE INDEX batches_by_target ON batches (target_id);

CREATE TABLE batch_items (
    batch_id      TEXT   NOT NULL,
    idx           BIGINT NOT NULL,
    state         TEXT   NOT NULL, -- pending, running, completed, failed, cancelled
    retries       BIGINT NOT NULL DEFAULT 0,
    input         TEXT   NOT NULL, -- JSON object of arguments, defaults filled in
    run_id        TEXT   NOT NULL DEFAULT '',
    result        TEXT   NOT NULL DEFAULT '', -- JSON; empty when it is not kept here
    error_type    TEXT   NOT NULL DEFAULT '',
    error_message TEXT   NOT NULL DEFAULT '',
    ended_at      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, idx)
);
CREATE INDEX batch_items_by_state ON batch_items (batch_id, state, idx);

CREATE TABLE claims (
    org_id      TEXT   NOT NULL,
    workflow_id TEXT   NOT NULL, -- whose runs' histories refer to it
    digest      TEXT   NOT NULL, -- SHA-256 of the content, hexadecimal
    size        BIGINT NOT NULL, -- bytes
    checked_at  BIGINT NOT NULL, -- when it was last known to be needed
    PRIMARY KEY (org_id, workflow_id, digest)
);
CREATE INDEX claims_checked ON claims (checked_at);
CREATE INDEX runs_by_workflow ON runs (workflow_id);

-- +goose Down
DROP INDEX runs_by_workflow;
DROP TABLE claims;
DROP TABLE batch_items;
DROP TABLE batches;
