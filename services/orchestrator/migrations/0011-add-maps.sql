-- breaking: no
-- Tasks made from the elements of a list: which element each one has, and whose it is.

CREATE TABLE map_items (
  task_id uuid NOT NULL,
  -- The mapped task, which waits for all of them.
  parent_id uuid NOT NULL,
  position integer NOT NULL,
  -- The element, as JSON.
  data bytea NOT NULL,
  CONSTRAINT map_items_pkey PRIMARY KEY (task_id)
);
CREATE UNIQUE INDEX map_items_of ON map_items (parent_id, position);
ALTER TABLE map_items ALTER COLUMN data SET STORAGE EXTERNAL;
