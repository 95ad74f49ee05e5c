-- breaking: yes (the version before writes payloads into tables that are views now: stop it before this one starts)
-- A task's input lies with its spec and its output with its state, as each is written in the same moment: two rows and two index
-- entries less for each task. Under their old names they can still be read.

ALTER TABLE tasks ADD COLUMN input_type text, ADD COLUMN input bytea;
ALTER TABLE tasks ALTER COLUMN input SET STORAGE EXTERNAL;
UPDATE tasks t SET input_type = i.content_type, input = i.data FROM task_inputs i WHERE i.task_id = t.task_id;
DROP TABLE task_inputs;
CREATE VIEW task_inputs AS
SELECT task_id, input_type AS content_type, input AS data FROM tasks WHERE input IS NOT NULL;

ALTER TABLE task_states ADD COLUMN output_type text, ADD COLUMN output bytea;
ALTER TABLE task_states ALTER COLUMN output SET STORAGE EXTERNAL;
UPDATE task_states s SET output_type = o.content_type, output = o.data FROM task_outputs o WHERE o.task_id = s.task_id;
DROP TABLE task_outputs;
CREATE VIEW task_outputs AS
SELECT task_id, output_type AS content_type, output AS data FROM task_states WHERE output IS NOT NULL;

-- A row grows by a small output when it ends; half a page is room for that.
ALTER TABLE task_states SET (fillfactor = 50);
