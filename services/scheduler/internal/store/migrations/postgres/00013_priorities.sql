-- +goose Up
CREATE TABLE priority_rules (
    rule_id    TEXT PRIMARY KEY,
    org_id     TEXT NOT NULL,
    app_id     TEXT NOT NULL, -- empty: all apps
    caller     TEXT NOT NULL, -- a user's id, an organisation's, anonymous, or empty for each
    highest    INTEGER NOT NULL, -- 0: not said
    weight     DOUBLE PRECISION NOT NULL, -- 0: not said
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (org_id, app_id, caller)
);

CREATE TABLE queue_limits (
    target_id  TEXT PRIMARY KEY,
    rate       DOUBLE PRECISION NOT NULL, -- a second; 0: any, here and below
    share_rate DOUBLE PRECISION NOT NULL,
    workflows  INTEGER NOT NULL, -- at once
    steps      INTEGER NOT NULL,
    tools      INTEGER NOT NULL,
    updated_at BIGINT NOT NULL
);

ALTER TABLE versions ADD COLUMN retries TEXT NOT NULL DEFAULT '[]'; -- JSON: how its activities are tried again

-- +goose Down
ALTER TABLE versions DROP COLUMN retries;
DROP TABLE queue_limits;
DROP TABLE priority_rules;
