-- breaking: no
-- How many attempts found no slot, as another replica was faster: nobody's fault, so the limit of refusals leaves them out. Those of before,
-- and those that the version before ends, count to it, as they did after a restart.
ALTER TABLE task_states ADD COLUMN crowded integer NOT NULL DEFAULT 0;
