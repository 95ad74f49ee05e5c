-- breaking: no, versions before do not know of tasks and go on as before

-- Whether agents may read it only in the name of a task that they hold.
ALTER TABLE secrets ADD COLUMN task_required boolean NOT NULL DEFAULT false;

-- In the name of which task a lease was taken: each renewal asks for it again.
ALTER TABLE secret_leases
  ADD COLUMN task_id text,
  ADD COLUMN fence bigint,
  ADD CONSTRAINT secret_leases_task_whole CHECK ((task_id IS NULL) = (fence IS NULL));
