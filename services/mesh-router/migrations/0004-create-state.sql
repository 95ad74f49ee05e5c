-- breaking: no; new tables only.

-- What the buckets of a namespace share: creating one is done under this row's lock.
CREATE TABLE state_namespaces (
  namespace text NOT NULL,
  -- Revisions of deleted buckets: one that is made anew goes on behind them, so that no watch mistakes it for the old one.
  revision_floor bigint NOT NULL DEFAULT 0,
  CONSTRAINT state_namespaces_pkey PRIMARY KEY (namespace)
);

-- One row a bucket; every transaction that changes the bucket locks it, and counts here.
CREATE TABLE state_buckets (
  bucket_id bigint GENERATED ALWAYS AS IDENTITY,
  namespace text NOT NULL,
  name text COLLATE "C" NOT NULL,
  policy text NOT NULL,
  keys_max bigint NOT NULL,
  bytes_max bigint NOT NULL,
  value_bytes_max integer NOT NULL,
  watchers_max integer NOT NULL,
  -- Null: keys live for ever whose writer does not say.
  default_ttl_ms bigint,
  -- Of the last change.
  revision bigint NOT NULL,
  -- Changes up to this one are no longer in the log.
  trimmed_revision bigint NOT NULL,
  -- Bytes that were ever put into the log: a row's own sum says how far back it is.
  log_bytes bigint NOT NULL DEFAULT 0,
  keys bigint NOT NULL DEFAULT 0,
  tombstones bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  -- Hashes of the request that made it.
  create_request uuid NOT NULL,
  create_body bigint NOT NULL,
  CONSTRAINT state_buckets_pkey PRIMARY KEY (bucket_id),
  CONSTRAINT state_buckets_name_key UNIQUE (namespace, name),
  CONSTRAINT state_buckets_policy CHECK (policy IN ('lww', 'vector', 'cas', 'counter'))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- One row a key, and a deleted one for as long as it is remembered.
CREATE TABLE state_entries (
  bucket_id bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  -- JSON that is only read as a whole: versions, their writers, counter, times.
  meta text NOT NULL,
  -- The values of all versions, one after the other.
  content bytea NOT NULL,
  size_bytes integer NOT NULL,
  siblings smallint NOT NULL,
  deleted boolean NOT NULL,
  -- When its time is over; of a deleted key: when it is forgotten.
  due_at timestamptz,
  CONSTRAINT state_entries_pkey PRIMARY KEY (bucket_id, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
-- Compressing costs more than it saves: values are short, or compressed already.
ALTER TABLE state_entries ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX state_entries_by_due ON state_entries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX state_entries_in_conflict ON state_entries (bucket_id, key) WHERE siblings > 1;

-- What watchers are told. One row for what a transaction changed in a bucket.
CREATE TABLE state_changes (
  bucket_id bigint NOT NULL,
  last_revision bigint NOT NULL,
  first_revision bigint NOT NULL,
  changes bytea NOT NULL,
  -- The bucket's log_bytes with this row.
  log_bytes bigint NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT state_changes_pkey PRIMARY KEY (bucket_id, last_revision)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
ALTER TABLE state_changes ALTER COLUMN changes SET STORAGE EXTERNAL;

-- Calls of the last 24 h and what they were answered, so that a repeat changes nothing. One partition a day.
CREATE TABLE state_requests (
  day date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date,
  bucket_id bigint NOT NULL,
  -- Of principal and request id.
  key uuid NOT NULL,
  body_hash bigint NOT NULL,
  results text NOT NULL,
  CONSTRAINT state_requests_pkey PRIMARY KEY (bucket_id, key, day)
) PARTITION BY RANGE (day);
CREATE TABLE state_requests_default PARTITION OF state_requests DEFAULT;

-- Deleted buckets whose rows are still being removed.
CREATE TABLE state_drops (
  bucket_id bigint NOT NULL,
  CONSTRAINT state_drops_pkey PRIMARY KEY (bucket_id)
);
