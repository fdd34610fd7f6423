-- +goose Up
CREATE TABLE secrets (
    secret_id  TEXT   PRIMARY KEY,
    org_id     TEXT   NOT NULL,
    creator_id TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    type       TEXT   NOT NULL,
    state      TEXT   NOT NULL, -- storing, stored, deleting
    created_at BIGINT NOT NULL, -- Unix milliseconds
    updated_at BIGINT NOT NULL
);
CREATE INDEX secrets_by_org ON secrets (org_id, name, secret_id);
CREATE INDEX secrets_unfinished ON secrets (state, updated_at);

-- +goose Down
DROP TABLE secrets;
