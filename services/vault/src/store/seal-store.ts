import { insertDrafts } from "@nexus/audit";
import type { Pool } from "@nexus/postgres";
import { withTransaction } from "@nexus/postgres";
import type { SealStore } from "../domain/secure-vault.ts";

const READ = "SELECT sealed FROM seal_state";
const WRITE = `
  UPDATE seal_state SET sealed = $1, changed_at = now() WHERE sealed <> $1`;

/** Creates the store of the operator's seal. */
export function createSealStore(pool: Pool): SealStore {
  return {
    async isSealed() {
      const statement = { name: "seal-state", text: READ, values: [] };
      const { rows } = await pool.query<{ readonly sealed: boolean }>(statement);
      // Without the row nobody knows; closed is the safe answer.
      return rows[0]?.sealed ?? true;
    },
    async setSealed(sealed, leaf) {
      await withTransaction(pool, async (client) => {
        await client.query(WRITE, [sealed]);
        if (leaf !== undefined) await insertDrafts(client, [leaf.draft()]);
      });
      leaf?.stored();
    },
  };
}
