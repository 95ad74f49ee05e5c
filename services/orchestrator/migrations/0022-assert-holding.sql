-- breaking: no
-- Every writing transaction begins with this, so it is one statement: that a replica's row stands, which stays so until the transaction
-- ends, and that these shards are its own. The state says what refuses it (store/refusals.ts).

CREATE FUNCTION assert_holding(replica text, shards smallint[], epochs bigint[], state text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- One row lock, whatever the number of shards: who puts a replica out deletes its row.
  PERFORM FROM replicas WHERE replica_id = replica FOR KEY SHARE;
  IF NOT FOUND THEN
    PERFORM refuse_unless(false, state);
  END IF;
  -- A statement of its own: it sees what was committed while the lock was waited for, which the lock's own statement does not. The
  -- epochs are only read: nobody but the replica itself changes the ownership of its shards while its row stands.
  IF (SELECT count(*) FROM unnest(shards, epochs) AS h(shard, epoch)
        JOIN shard_owners o ON o.shard = h.shard AND o.epoch = h.epoch AND o.owner = replica) <> cardinality(shards) THEN
    PERFORM refuse_unless(false, state);
  END IF;
END
$$;
