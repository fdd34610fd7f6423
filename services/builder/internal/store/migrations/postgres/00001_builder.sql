-- +goose Up
CREATE TABLE bundles (
    bundle_id TEXT PRIMARY KEY,
    org_id    TEXT NOT NULL,
    owner     TEXT NOT NULL,
    digest    TEXT NOT NULL,
    files     BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    used_at   BIGINT NOT NULL, -- milliseconds
    UNIQUE (org_id, owner, digest)
);
CREATE INDEX bundles_used ON bundles (used_at);

-- What a list of wishes (requirements, constraints, interpreter) came to.
CREATE TABLE resolutions (
    input       TEXT PRIMARY KEY, -- digest of the wishes
    lock        TEXT NOT NULL,
    environment TEXT NOT NULL,    -- digest of lock, interpreter and engine
    made_at     BIGINT NOT NULL
);

CREATE TABLE environments (
    digest  TEXT PRIMARY KEY,
    kind    TEXT NOT NULL, -- environment (Python) or tool (Node)
    used_at BIGINT NOT NULL
);

-- What a bundle was built into, under the rules of that time. Older rows stay as long
-- as the bundle, for a version may still run what they name.
CREATE TABLE builds (
    bundle_id    TEXT NOT NULL REFERENCES bundles (bundle_id) ON DELETE CASCADE,
    rules        TEXT NOT NULL, -- digest of everything but the bundle that decides
    artifact_id  TEXT NOT NULL,
    environments TEXT NOT NULL, -- JSON: the place it is for → digest
    made_at      BIGINT NOT NULL,
    PRIMARY KEY (bundle_id, rules)
);
