-- +goose Up
CREATE TABLE orgs (
    org_id     TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL -- Unix milliseconds, here and below
);

CREATE TABLE users (
    user_id    TEXT    PRIMARY KEY,
    org_id     TEXT    NOT NULL REFERENCES orgs (org_id),
    name       TEXT    NOT NULL,
    email      TEXT    NOT NULL UNIQUE,
    admin      BOOLEAN NOT NULL,
    created_at BIGINT  NOT NULL
);

-- An API key is kept as its SHA-256 only.
CREATE TABLE api_keys (
    key_id     TEXT   PRIMARY KEY,
    user_id    TEXT   NOT NULL REFERENCES users (user_id),
    hash       TEXT   NOT NULL UNIQUE,
    name       TEXT   NOT NULL,
    hint       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, -- 0: never
    revoked    BOOLEAN NOT NULL
);
CREATE INDEX api_keys_by_user ON api_keys (user_id, created_at);

CREATE TABLE apps (
    app_id          TEXT    PRIMARY KEY,
    org_id          TEXT    NOT NULL REFERENCES orgs (org_id),
    creator_id      TEXT    NOT NULL REFERENCES users (user_id),
    name            TEXT    NOT NULL,
    description     TEXT,
    unauthenticated BOOLEAN NOT NULL,
    metadata        TEXT    NOT NULL, -- JSON of the last deploy, or empty
    live_version_id TEXT    NOT NULL, -- empty: none
    user_params     TEXT    NOT NULL, -- JSON list, from the live version
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,
    UNIQUE (org_id, name)
);

-- One user's instance of an app.
CREATE TABLE configurations (
    configuration_id TEXT   PRIMARY KEY,
    app_id           TEXT   NOT NULL REFERENCES apps (app_id) ON DELETE CASCADE,
    org_id           TEXT   NOT NULL,
    creator_id       TEXT   NOT NULL,
    params           TEXT   NOT NULL, -- JSON: dotted name to secret handle
    of_version_id    TEXT   NOT NULL, -- the app's version that it should run
    version_id       TEXT   NOT NULL, -- its own name for that version with these params
    live_version_id  TEXT   NOT NULL, -- the own version that serves; empty: none
    failed_version_id TEXT  NOT NULL, -- the own version that is not tried again
    created_at       BIGINT NOT NULL,
    UNIQUE (app_id, creator_id)
);

-- Where an app or a configuration answers: a host name, or a port on loopback.
CREATE TABLE addresses (
    target_id TEXT    PRIMARY KEY,
    host      TEXT    UNIQUE,
    port      INTEGER UNIQUE,
    ready     BOOLEAN NOT NULL
);

CREATE TABLE uploads (
    upload_id  TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES apps (app_id) ON DELETE CASCADE,
    bundle_id  TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    refused    TEXT   NOT NULL, -- why it was not kept, for people; empty: it was
    creator_id TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_app ON uploads (app_id, created_at);

CREATE TABLE versions (
    version_id TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES apps (app_id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    upload_id  TEXT   NOT NULL,
    bundle_id  TEXT   NOT NULL,
    state      TEXT   NOT NULL, -- pending, live, retired, failed
    error      TEXT   NOT NULL,
    metadata   TEXT   NOT NULL,
    creator_id TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    live_at    BIGINT NOT NULL, -- 0: never
    UNIQUE (app_id, number),
    UNIQUE (app_id, upload_id)
);

-- +goose Down
DROP TABLE versions;
DROP TABLE uploads;
DROP TABLE addresses;
DROP TABLE configurations;
DROP TABLE apps;
DROP TABLE api_keys;
DROP TABLE users;
DROP TABLE orgs;
