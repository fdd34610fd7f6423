-- +goose Up
CREATE TABLE rollouts (
    rollout_id   TEXT   NOT NULL PRIMARY KEY,
    target_id    TEXT   NOT NULL,
    org_id       TEXT   NOT NULL,
    version_id   TEXT   NOT NULL, -- that is tried
    number       BIGINT NOT NULL,
    live_version TEXT   NOT NULL, -- that was live as it began
    live_number  BIGINT NOT NULL,
    plan         TEXT   NOT NULL, -- JSON
    state        TEXT   NOT NULL, -- running, paused, promoted, aborted, superseded
    step         BIGINT NOT NULL DEFAULT 0, -- from 1; 0: none has begun
    base         TEXT   NOT NULL DEFAULT '', -- JSON: what had been seen as the step began
    step_at      BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL DEFAULT 0, -- when the step may end
    paused_at    BIGINT NOT NULL DEFAULT 0,
    promote_by   TEXT   NOT NULL DEFAULT '', -- who wants it promoted now
    started_by   TEXT   NOT NULL DEFAULT '',
    ended_by     TEXT   NOT NULL DEFAULT '',
    reason       TEXT   NOT NULL DEFAULT '',
    result       TEXT   NOT NULL DEFAULT '', -- JSON; empty until it is settled
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL DEFAULT 0,
    told         BIGINT NOT NULL DEFAULT 0 -- whether its end is on the bus
);
CREATE UNIQUE INDEX rollouts_open ON rollouts (target_id) WHERE state IN ('running', 'paused');
CREATE INDEX rollouts_by_target ON rollouts (target_id, started_at);
CREATE INDEX rollouts_unsettled ON rollouts (rollout_id) WHERE result = '';
CREATE TABLE rollout_counts (
    rollout_id TEXT   NOT NULL,
    gateway_id TEXT   NOT NULL,
    version_id TEXT   NOT NULL,
    calls      BIGINT NOT NULL,
    failures   BIGINT NOT NULL,
    latencies  TEXT   NOT NULL, -- JSON: calls by time
    PRIMARY KEY (rollout_id, gateway_id, version_id)
);
CREATE TABLE rollout_users (
    rollout_id TEXT   NOT NULL,
    user_hash  BIGINT NOT NULL,
    seen       BIGINT NOT NULL, -- 1: the live version; 2: the one that is tried; 4: an error of the latter
    PRIMARY KEY (rollout_id, user_hash)
);

-- +goose Down
DROP TABLE rollout_users;
DROP TABLE rollout_counts;
DROP TABLE rollouts;
