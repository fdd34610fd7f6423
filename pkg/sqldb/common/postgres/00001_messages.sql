-- +goose Up
-- outbox: events that a transaction has promised and the relay has not sent yet.
CREATE TABLE outbox (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id TEXT   NOT NULL UNIQUE,
    subject    TEXT   NOT NULL,
    payload    BYTEA  NOT NULL
);
-- inbox: messages that a consumer has handled, so that a redelivery does nothing.
CREATE TABLE inbox (
    consumer   TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    handled_at BIGINT NOT NULL, -- Unix milliseconds
    PRIMARY KEY (consumer, message_id)
);
CREATE INDEX inbox_by_age ON inbox (handled_at);

-- +goose Down
DROP TABLE inbox;
DROP TABLE outbox;
