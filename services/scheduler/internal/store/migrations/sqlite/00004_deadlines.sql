-- +goose Up
ALTER TABLE questions ADD COLUMN deadline_at BIGINT NOT NULL DEFAULT 0; -- 0: none
ALTER TABLE questions ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0; -- asked, answered or taken back
UPDATE questions SET changed_at = CASE WHEN answered_at > asked_at THEN answered_at ELSE asked_at END;
CREATE INDEX questions_deadline ON questions (state, deadline_at);
CREATE INDEX questions_by_run ON questions (run_id, changed_at);

-- +goose Down
DROP INDEX questions_by_run;
DROP INDEX questions_deadline;
ALTER TABLE questions DROP COLUMN changed_at;
ALTER TABLE questions DROP COLUMN deadline_at;
