-- breaking: no
-- How many agents were lost with the task in hand: the retry policy bounds it (ADR 0046). Tasks of before begin at none, as do those that
-- the version before ends.
ALTER TABLE task_states ADD COLUMN losses smallint NOT NULL DEFAULT 0;
