-- breaking: no
-- Bodies beyond what a message carries, by the hash of their content. A task's row then holds the hash where its body would be, and
-- the size beside it says so.

CREATE TABLE payloads (
  namespace text NOT NULL,
  sha256 bytea NOT NULL,
  size_bytes bigint NOT NULL,
  -- Whose parts these are.
  upload_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When it was last uploaded or referred to, to the hour.
  touched_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payloads_key PRIMARY KEY (namespace, sha256)
);
CREATE INDEX payloads_by_touch ON payloads (touched_at);

-- Uploads under way; one that ends is no longer here, and what a broken one left is found by its age.
CREATE TABLE payload_uploads (
  upload_id uuid NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payload_uploads_key PRIMARY KEY (upload_id)
);
CREATE INDEX payload_uploads_by_age ON payload_uploads (started_at);

-- Each part but the last one has the same size, so that an offset says which part holds it.
CREATE TABLE payload_parts (
  upload_id uuid NOT NULL,
  position int NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT payload_parts_key PRIMARY KEY (upload_id, position)
);
ALTER TABLE payload_parts ALTER COLUMN data SET STORAGE EXTERNAL;

-- Jobs whose tasks refer to a body: while one of them is open, it is kept.
CREATE TABLE payload_refs (
  namespace text NOT NULL,
  sha256 bytea NOT NULL,
  job_id uuid NOT NULL,
  CONSTRAINT payload_refs_key PRIMARY KEY (namespace, sha256, job_id)
);

ALTER TABLE tasks ADD COLUMN input_stored_bytes bigint;
ALTER TABLE task_states ADD COLUMN output_stored_bytes bigint;
CREATE OR REPLACE VIEW task_inputs AS
SELECT task_id, input_type AS content_type, input AS data, input_stored_bytes AS stored_bytes
  FROM tasks WHERE input IS NOT NULL;
CREATE OR REPLACE VIEW task_outputs AS
SELECT task_id, output_type AS content_type, output AS data, output_stored_bytes AS stored_bytes
  FROM task_states WHERE output IS NOT NULL;
