-- breaking: no
-- Tasks across jobs, newest first. Rows of tasks never change, so the index costs one entry at its right edge when a task
-- is submitted, and nothing after that. State, agent and failure change, so no index names them: a search looks at a
-- bounded number of tasks in this order instead.
CREATE INDEX tasks_newest ON tasks (namespace, created_at DESC, task_id DESC);
