-- breaking: no
-- What the end of a task without success means for the tasks behind it, edge by edge.

CREATE TYPE edge_policy AS ENUM ('FAIL', 'SKIP', 'CONTINUE');
ALTER TABLE edges ADD COLUMN on_failure edge_policy NOT NULL DEFAULT 'FAIL';

ALTER TYPE job_state ADD VALUE 'PARTIAL';
