-- +goose Up
CREATE TABLE health_conditions (
    target_id TEXT   NOT NULL,
    org_id    TEXT   NOT NULL,
    type      TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    subject   TEXT   NOT NULL, -- a workflow or a task queue
    message   TEXT   NOT NULL,
    run_ids   TEXT   NOT NULL, -- JSON list of at most ten
    runs      BIGINT NOT NULL,
    since     BIGINT NOT NULL,
    seen_at   BIGINT NOT NULL,
    settling  BIGINT NOT NULL, -- 1: not seen at the last look
    PRIMARY KEY (target_id, type, reason, subject)
);
CREATE INDEX health_conditions_by_org ON health_conditions (org_id, target_id, type, reason, subject);
CREATE INDEX runs_by_type ON runs (target_id, type, closed_at, started_at);

-- +goose Down
DROP INDEX runs_by_type;
DROP TABLE health_conditions;
