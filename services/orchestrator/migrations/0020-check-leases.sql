-- breaking: no
-- What a lease of a table of its own could not lack: without a deadline nobody would end it, without the rest nobody could load it.

ALTER TABLE task_states ADD CONSTRAINT task_states_lease CHECK (
  fence = 0 OR num_nulls(agent_epoch, capability_version, leased_at, deadline_at, decision) = 0
);
