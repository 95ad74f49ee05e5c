import type { Pool } from "@nexus/postgres";
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { AuditStore, EntryFilter, Leaf } from "../domain/audit/audit-entries.ts";

const PAGE_KIND = "audit-entries";
const LARGEST = Number.MAX_SAFE_INTEGER;

const RANGE = `
  SELECT leaf_index AS index, leaf FROM audit_entries
  WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index LIMIT $3`;

// The newest half, and of the others every n-th, so that an export of any length fits a message.
const CHECKPOINTS = `
  SELECT note FROM (
    SELECT note, tree_size, row_number() OVER newest AS place, count(*) OVER () AS total
    FROM audit_checkpoints WHERE tree_size <= $1
    WINDOW newest AS (ORDER BY tree_size DESC)
  ) numbered
  WHERE place <= $2::integer / 2 OR place % greatest(1, ceil(total::numeric * 2 / $2))::bigint = 0
  ORDER BY tree_size`;

interface Conditions {
  readonly texts: string[];
  readonly values: unknown[];
}

/** The conditions of a filter. An action is named whole or by its end, the method's own name. */
function conditionsOf(filter: EntryFilter): Conditions {
  const conditions: Conditions = { texts: [], values: [] };
  const add = (text: string, value: unknown) => {
    if (value === undefined) return;
    conditions.values.push(value);
    conditions.texts.push(text.replaceAll("?", `$${conditions.values.length}`));
  };
  const moment = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms));
  add("namespace = ?", filter.namespace);
  add("committed_at >= ?", moment(filter.fromMs));
  add("committed_at < ?", moment(filter.toMs));
  add("actor = ?", filter.actor);
  add("(action = ? OR right(action, length(?) + 1) = '/' || ?)", filter.action);
  add("resource = ANY (?)", filter.resources);
  add("result = ?", filter.result);
  return conditions;
}

interface LeafRow {
  readonly index: string;
  readonly leaf: Buffer;
}

function toLeaf({ index, leaf }: LeafRow): Leaf {
  return { index: Number(index), leaf };
}

/** What only reads the log. */
export function createAuditReader(
  pool: Pool,
): Pick<AuditStore, "list" | "range" | "following" | "checkpoints"> {
  async function select(
    filter: EntryFilter,
    { from, to, limit, order }: { from: number; to: number; limit: number; order: string },
  ): Promise<Leaf[]> {
    const { texts, values } = conditionsOf(filter);
    const last = values.length;
    const places = [`leaf_index >= $${last + 1}`, `leaf_index < $${last + 2}`];
    const text = `
      SELECT leaf_index AS index, leaf FROM audit_entries
      WHERE ${[...texts, ...places].join(" AND ")}
      ORDER BY leaf_index ${order} LIMIT $${last + 3}`;
    return (await pool.query<LeafRow>(text, [...values, from, to, limit])).rows.map(toLeaf);
  }

  return {
    async list(filter, page) {
      const [before = String(LARGEST)] = decodePageToken(PAGE_KIND, page.token, ["bigint"]) ?? [];
      const place = {
        from: 0,
        to: Math.min(Number(before), LARGEST),
        limit: page.size + 1,
        order: "DESC",
      };
      const found = await select(filter, place);
      const items = found.slice(0, page.size);
      const last = found.length > page.size ? items.at(-1) : undefined;
      const nextPageToken =
        last === undefined ? "" : encodePageToken(PAGE_KIND, [String(last.index)]);
      return { items, nextPageToken };
    },
    following: (filter, range) => select(filter, { ...range, order: "ASC" }),
    async range({ from, to, limit }) {
      const statement = { name: "audit-range", text: RANGE, values: [from, to, limit] };
      return (await pool.query<LeafRow>(statement)).rows.map(toLeaf);
    },
    async checkpoints(size, limit) {
      const { rows } = await pool.query<{ note: string }>(CHECKPOINTS, [size, limit]);
      return rows.map(({ note }) => note);
    },
  };
}
