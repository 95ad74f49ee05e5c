-- breaking: no
-- In the order in which tasks come, and read backwards: new entries then go to the right edge of their namespace, where pages are
-- left full behind them. At the left edge every page was split in the middle.
CREATE INDEX tasks_by_age ON tasks (namespace, created_at, task_id);
DROP INDEX tasks_newest;
ALTER INDEX tasks_by_age RENAME TO tasks_newest;
