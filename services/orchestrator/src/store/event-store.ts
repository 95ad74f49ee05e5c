/** The append-only history of state changes, one row for each job and transaction. Only the owner appends, one transaction after
 * another. */
import { int4Array, jsonArray, type Queryable, uuidArray } from "@nexus/postgres";
import {
  type JobChange,
  type JobEvent,
  type JobEvents,
  type TaskChange,
  toJobEvents,
} from "../domain/job-event.ts";
import type { EventPage } from "../domain/reader.ts";
import { readChanges, type StoredChanges, writeChanges } from "./event-row.ts";
import { jobUuid } from "./row-ids.ts";

/** Changes in one row; part of how they are numbered, so it never changes. */
const EVENTS_PER_ROW = 512n;

type Change = JobChange | TaskChange;

const APPEND = {
  name: "events-append",
  text: `
    INSERT INTO job_events (job_id, events, changes)
    SELECT job_id, events, changes
      FROM unnest($1::uuid[], $2::int[], $3::json[]) WITH ORDINALITY AS e(job_id, events, changes, position)
     ORDER BY position
    RETURNING sequence, (extract(epoch FROM created_at) * 1000)::float8 AS at_ms`,
};

/** Appends changes, those of one job in this order, and returns them by row, with their numbers.
 *
 * Numbers are drawn inside the owner's serial transactions, so a higher one is never committed before a lower one
 * of the same job. Cost: 1 statement; a row for each job, and for every 512 changes of it. */
export async function appendEvents(
  client: Queryable,
  changes: readonly Change[],
): Promise<JobEvents[]> {
  if (changes.length === 0) return [];
  const groups = groupByRow(changes);
  const { rows } = await client.query<{ sequence: string; at_ms: number }>(APPEND, [
    uuidArray(groups.map(([first]) => jobUuid((first as Change).jobId))),
    int4Array(groups.map((group) => group.length)),
    jsonArray(groups.map(writeChanges)),
  ]);
  return groups.map((group, index) => {
    const { sequence, at_ms } = rows[index] as { sequence: string; at_ms: number };
    const { jobId } = group[0] as Change;
    return { jobId, first: firstOf(sequence), at: new Date(at_ms), changes: group };
  });
}

function groupByRow(changes: readonly Change[]): Change[][] {
  const groups: Change[][] = [];
  const open = new Map<string, Change[]>();
  for (const change of changes) {
    const group = open.get(change.jobId);
    if (group !== undefined && group.length < EVENTS_PER_ROW) group.push(change);
    else {
      const next = [change];
      open.set(change.jobId, next);
      groups.push(next);
    }
  }
  return groups;
}

/** The number of a row's first change. */
function firstOf(sequence: string): bigint {
  return BigInt(sequence) * EVENTS_PER_ROW;
}

/** The window counts the changes before each row, so that a page is cut before their text is read. */
const READ_FROM = {
  name: "events-read-from",
  text: `
    SELECT r.sequence, r.changes, r.created_at
      FROM (SELECT e.*, sum(e.events) OVER (ORDER BY e.sequence) - e.events AS before
              FROM (SELECT * FROM job_events
                     WHERE job_id = $1 AND sequence >= $2 AND created_at >= $3
                     ORDER BY sequence LIMIT $4) e) r
     WHERE r.before < $4
     ORDER BY r.sequence`,
};

interface EventRow {
  readonly sequence: string;
  readonly changes: StoredChanges;
  readonly created_at: Date;
}

/** Reads a job's events with a number above `after`, lowest first. */
export async function readEvents(
  client: Queryable,
  jobId: string,
  after: bigint,
  page: EventPage,
): Promise<JobEvent[]> {
  // The driver keeps milliseconds; the column has microseconds, so the bound goes one down.
  const since = new Date(page.since.getTime() - 1);
  // The row of `after` may hold more: it is read again, and up to its whole length more than a page has.
  const { rows } = await client.query<EventRow>(READ_FROM, [
    jobUuid(jobId),
    (after / EVENTS_PER_ROW).toString(),
    since,
    page.limit + Number(EVENTS_PER_ROW),
  ]);
  return rows
    .flatMap(({ sequence, changes, created_at: at }) =>
      toJobEvents({ jobId, first: firstOf(sequence), at, changes: readChanges(jobId, changes) }),
    )
    .filter(({ sequence }) => sequence > after)
    .slice(0, page.limit);
}
