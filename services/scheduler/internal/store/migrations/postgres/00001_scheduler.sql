-- +goose Up
CREATE TABLE targets (
    target_id       TEXT   PRIMARY KEY,
    app_id          TEXT   NOT NULL,
    org_id          TEXT   NOT NULL,
    app_name        TEXT   NOT NULL,
    live_version    TEXT   NOT NULL DEFAULT '',
    pending_version TEXT   NOT NULL DEFAULT '',
    removing        BIGINT NOT NULL DEFAULT 0,
    updated_at      BIGINT NOT NULL -- Unix milliseconds, here and below
);
CREATE INDEX targets_by_org ON targets (org_id);

CREATE TABLE versions (
    version_id    TEXT   PRIMARY KEY,
    target_id     TEXT   NOT NULL,
    org_id        TEXT   NOT NULL,
    app_id        TEXT   NOT NULL,
    app_name      TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    bundle_id     TEXT   NOT NULL,
    params        TEXT   NOT NULL, -- JSON: dotted name to secret handle
    artifact      TEXT   NOT NULL, -- protojson without settings
    user_params   TEXT   NOT NULL, -- JSON list of dotted names
    capture       TEXT   NOT NULL, -- JSON: what the health gate recorded
    state         TEXT   NOT NULL, -- pending, live, draining, failed, gone
    error         TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL  -- 0 while it is not over
);
CREATE INDEX versions_by_target ON versions (target_id, number);
CREATE INDEX versions_by_state ON versions (state);

CREATE TABLE instances (
    instance_id   TEXT   PRIMARY KEY,
    target_id     TEXT   NOT NULL,
    app_id        TEXT   NOT NULL,
    org_id        TEXT   NOT NULL,
    version_id    TEXT   NOT NULL,
    edge_hash     TEXT   NOT NULL UNIQUE, -- SHA-256 of the token for Temporal's edge
    callback_hash TEXT   NOT NULL UNIQUE, -- SHA-256 of the token for callbacks
    created_at    BIGINT NOT NULL
);
CREATE INDEX instances_by_version ON instances (target_id, version_id);

CREATE TABLE runs (
    run_id             TEXT   PRIMARY KEY,
    workflow_id        TEXT   NOT NULL,
    target_id          TEXT   NOT NULL,
    org_id             TEXT   NOT NULL,
    version_id         TEXT   NOT NULL,
    type               TEXT   NOT NULL,
    session_id         TEXT   NOT NULL,
    user_id            TEXT   NOT NULL,
    progress_token     TEXT   NOT NULL,
    parent_workflow_id TEXT   NOT NULL,
    parent_run_id      TEXT   NOT NULL,
    started_at         BIGINT NOT NULL,
    checked_at         BIGINT NOT NULL,
    closed_at          BIGINT NOT NULL, -- 0 while open
    outcome            TEXT   NOT NULL
);
CREATE INDEX runs_by_target ON runs (target_id, workflow_id);
CREATE INDEX runs_open ON runs (closed_at, checked_at);

CREATE TABLE questions (
    question_id TEXT   PRIMARY KEY,
    target_id   TEXT   NOT NULL,
    org_id      TEXT   NOT NULL,
    workflow_id TEXT   NOT NULL,
    run_id      TEXT   NOT NULL,
    method      TEXT   NOT NULL,
    params      TEXT   NOT NULL,
    signal_name TEXT   NOT NULL,
    ask_key     TEXT   NOT NULL,
    session_id  TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    asked_at    BIGINT NOT NULL,
    answer      TEXT   NOT NULL,
    state       TEXT   NOT NULL, -- open, answered (to be delivered), done
    attempts    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    UNIQUE (run_id, signal_name, ask_key)
);
CREATE INDEX questions_by_target ON questions (target_id, state, asked_at);
CREATE INDEX questions_by_org ON questions (org_id, state, asked_at);
CREATE INDEX questions_due ON questions (state, due_at);

-- +goose Down
DROP TABLE questions;
DROP TABLE runs;
DROP TABLE instances;
DROP TABLE versions;
DROP TABLE targets;
