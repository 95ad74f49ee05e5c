-- breaking: no, only new tables

-- Entries that are committed and have no place in the log yet. Any transaction adds to it, and none waits for another:
-- places are given afterwards, by whoever holds the sequencer's lock. The database dates each row by itself.
CREATE TABLE audit_outbox (
  entry_no bigint GENERATED ALWAYS AS IDENTITY,
  draft bytea NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT audit_outbox_pkey PRIMARY KEY (entry_no)
);

-- The leaves. Never changed, never deleted. What stands beside the leaf is an index over it, for filters only.
CREATE TABLE audit_entries (
  leaf_index bigint NOT NULL,
  leaf bytea NOT NULL,
  committed_at timestamptz NOT NULL,
  service text NOT NULL,
  action text NOT NULL,
  namespace text NOT NULL,
  actor text NOT NULL,
  resource text NOT NULL,
  result smallint NOT NULL,
  CONSTRAINT audit_entries_pkey PRIMARY KEY (leaf_index)
);
CREATE INDEX audit_entries_by_time ON audit_entries (committed_at);
CREATE INDEX audit_entries_by_namespace ON audit_entries (namespace, leaf_index);
CREATE INDEX audit_entries_by_actor ON audit_entries (actor, leaf_index);
CREATE INDEX audit_entries_by_action ON audit_entries (action, leaf_index);
CREATE INDEX audit_entries_by_resource ON audit_entries (resource, leaf_index);

-- The nodes of the tree, 256 neighbours of every eighth level in a row. Random bytes do not compress.
CREATE TABLE audit_tiles (
  level smallint NOT NULL,
  tile_index bigint NOT NULL,
  hashes bytea NOT NULL,
  CONSTRAINT audit_tiles_pkey PRIMARY KEY (level, tile_index)
);
ALTER TABLE audit_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Signed states of the log. The largest one is where the log goes on.
CREATE TABLE audit_checkpoints (
  tree_size bigint NOT NULL,
  root bytea NOT NULL,
  note text NOT NULL,
  signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (tree_size)
);

-- How far the outbox of each service is taken over.
CREATE TABLE audit_streams (
  service text NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL,
  CONSTRAINT audit_streams_pkey PRIMARY KEY (service, stream)
);
