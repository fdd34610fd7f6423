-- +goose Up
CREATE TABLE log_lines (
    seq            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_id      TEXT NOT NULL,
    org_id         TEXT NOT NULL,
    line_id        TEXT NOT NULL,
    time_us        BIGINT NOT NULL, -- microseconds since 1970
    level          BIGINT NOT NULL,
    source         BIGINT NOT NULL,
    logger         TEXT NOT NULL,
    message        TEXT NOT NULL,
    version_id     TEXT NOT NULL,
    instance_id    TEXT NOT NULL,
    run_id         TEXT NOT NULL,
    fields_json    TEXT NOT NULL,
    trace_id       TEXT NOT NULL,
    dropped_before BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    UNIQUE (target_id, line_id)
);
CREATE INDEX log_lines_time ON log_lines (target_id, time_us, seq);

-- How much is kept of each target, so that bounds need no counting.
CREATE TABLE log_usage (
    target_id TEXT PRIMARY KEY,
    lines     BIGINT NOT NULL,
    bytes     BIGINT NOT NULL
);

-- How far a stream has been stored, written together with its lines, so that a
-- restart goes on at exactly the next message.
CREATE TABLE log_places (
    stream TEXT PRIMARY KEY, -- name and birth: a stream made anew counts from one again
    seq    BIGINT NOT NULL
);
