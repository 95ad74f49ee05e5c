import type { Pool } from "@nexus/postgres";

const INSERT = `
  INSERT INTO sealed_keys (name, box) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`;
const FIND = "SELECT box FROM sealed_keys WHERE name = $1";

/** Returns the stored box of this name, storing a new one first if there is none. Replicas that start together end
 * up with the same box. */
export async function ensureSealedKey(
  pool: Pool,
  name: string,
  make: () => Buffer,
): Promise<Buffer> {
  const existing = await pool.query<{ box: Buffer }>(FIND, [name]);
  const [row] = existing.rows;
  if (row !== undefined) return row.box;
  await pool.query(INSERT, [name, make()]);
  const { rows } = await pool.query<{ box: Buffer }>(FIND, [name]);
  return (rows[0] as { box: Buffer }).box;
}
