-- breaking: no
-- Jobs that ended, the earliest first: which of them are to be removed is found there. A job's end is written once, by an update that
-- has to leave jobs_open anyway.
CREATE INDEX jobs_ended ON jobs (ended_at, job_id) WHERE ended_at IS NOT NULL;

-- Rows of these used to stay for ever; as they go now, their room is to be used again before a fifth of the table is empty.
ALTER TABLE tasks SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000);
ALTER TABLE edges SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000);
ALTER TABLE past_attempts SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000);
