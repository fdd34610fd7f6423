-- +goose Up
CREATE TABLE vault_values (
    path    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    sealed  BLOB    NOT NULL,
    PRIMARY KEY (path, version)
);

-- +goose Down
DROP TABLE vault_values;
