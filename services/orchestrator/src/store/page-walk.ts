/** Pages of a search that looks at rows in one order, newest first, and finds some of them. */
import { decodePageToken, encodePageToken } from "@nexus/postgres";

/** Above every row: no moment is later. */
const END_OF_TIME = "infinity";
/** Below every row of its moment, so that a time alone is an exclusive bound. */
const FIRST_UUID = "00000000-0000-0000-0000-000000000000";

/** Where a walk begins. */
export interface WalkStart {
  /** Rows are before this: a timestamp as text, and the id that settles ties. */
  readonly beforeAt: string;
  readonly beforeId: string;
}

/** Reads where to go on; the first page begins at `until`, or with the newest.
 *
 * Errors: invalid/PAGE_TOKEN_INVALID. */
export function startOf(kind: string, pageToken: string, until: Date | undefined): WalkStart {
  const token = decodePageToken(kind, pageToken, ["moment", "uuid"]);
  if (token === undefined) {
    return { beforeAt: until?.toISOString() ?? END_OF_TIME, beforeId: FIRST_UUID };
  }
  return { beforeAt: String(token[0]), beforeId: String(token[1]) };
}

/** A row's place in the order. */
export interface Place {
  readonly cursor_at: string;
  readonly cursor_id: string;
}

/** What a statement says of a walk: how many rows it looked at, and the last of them. */
export interface Walked {
  readonly looked: number;
  readonly last_at: string | null;
  readonly last_id: string | null;
}

/** Cuts what was found, one more than fits, into a page, and says how to go on: behind its last row, or, when not enough
 * were found among the rows that one call looks at, behind the last of those. */
export function cutPage<R extends Place>(
  kind: string,
  found: readonly R[],
  { pageSize, looks, walked }: { pageSize: number; looks: number; walked: Walked | undefined },
): { readonly rows: readonly R[]; readonly nextPageToken: string } {
  const rows = found.slice(0, pageSize);
  const last = rows.at(-1);
  if (found.length > pageSize && last !== undefined) {
    return { rows, nextPageToken: encodePageToken(kind, [last.cursor_at, last.cursor_id]) };
  }
  const more = walked !== undefined && walked.looked >= looks && walked.last_at !== null;
  return {
    rows,
    nextPageToken: more ? encodePageToken(kind, [walked.last_at, walked.last_id]) : "",
  };
}
