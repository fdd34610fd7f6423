-- +goose Up
CREATE TABLE limits (
    limit_id         TEXT PRIMARY KEY,
    org_id           TEXT NOT NULL REFERENCES orgs (org_id),
    app_id           TEXT NOT NULL, -- empty: all apps together
    caller           TEXT NOT NULL, -- a user's id, * for all as one, empty for each
    tool             TEXT NOT NULL, -- empty: all requests
    calls_per_second REAL NOT NULL, -- 0: any
    burst            INTEGER NOT NULL, -- 0: as many as in one second
    concurrent       INTEGER NOT NULL, -- 0: any
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    UNIQUE (org_id, app_id, caller, tool)
);

-- +goose Down
DROP TABLE limits;
