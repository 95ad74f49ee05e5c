-- breaking: yes (the version before owns shard 0 only and knows no replicas: stop it before this one starts)
-- 64 shards by job id, owned by replicas whose leases end by the database's clock.

-- A process that may own shards. Every writing transaction holds its row with FOR KEY SHARE; deleting the row, which
-- is how others put a silent replica out, waits for those transactions and makes all later ones fail.
CREATE TABLE replicas (
  -- The name with a part of its own for each start of the process.
  replica_id text NOT NULL,
  name text NOT NULL,
  -- host:port at which other replicas hand calls on.
  address text NOT NULL,
  -- Renewed several times before it comes; after it any other replica may delete the row.
  expires_at timestamptz NOT NULL,
  joined_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT replicas_pkey PRIMARY KEY (replica_id)
);

-- An owner that is deleted leaves its shards free. The epoch grows with every taking.
ALTER TABLE shard_owners ALTER COLUMN owner DROP NOT NULL;
UPDATE shard_owners SET owner = NULL;
INSERT INTO shard_owners (shard, owner, epoch)
SELECT n, NULL, 0 FROM generate_series(0, 63) AS n ON CONFLICT (shard) DO NOTHING;
ALTER TABLE shard_owners
  ADD CONSTRAINT shard_owners_owner_fkey FOREIGN KEY (owner) REFERENCES replicas (replica_id) ON DELETE SET NULL,
  ADD CONSTRAINT shard_owners_shard CHECK (shard BETWEEN 0 AND 63);

-- The low six bits of a job id's last byte are its shard. Ids of tasks carry their job's last byte; those of tasks from
-- before do not, so finish open jobs before there is a second replica.
UPDATE jobs SET shard = get_byte(uuid_send(job_id), 15) & 63;
UPDATE tasks SET shard = get_byte(uuid_send(job_id), 15) & 63;
UPDATE leases SET shard = get_byte(uuid_send(job_id), 15) & 63;
UPDATE ready r SET shard = t.shard FROM tasks t WHERE t.task_id = r.task_id;

-- Outcomes are told by the owner of their job's shard, in the order of its commits.
ALTER TABLE outbox ADD COLUMN shard smallint NOT NULL DEFAULT 0;
UPDATE outbox SET shard = get_byte(uuid_send(job_id), 15) & 63;
ALTER TABLE outbox ALTER COLUMN shard DROP DEFAULT;
