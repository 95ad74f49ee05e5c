import type { Pool } from "@nexus/postgres";
import { authorityBoxName } from "../domain/authority.ts";
import type { BoxStore, SealedBox, StoredBox } from "../domain/sealed-box.ts";
import { signingKeyBoxName } from "../domain/signing-key.ts";

// A box without a version is of an earlier version of vault, so IS DISTINCT FROM finds it as well.
const LIST_STALE = `
  SELECT 'signing-key' AS place, kid AS key, private_box AS box, box_key_version AS "keyVersion"
  FROM signing_keys WHERE private_box IS NOT NULL AND box_key_version IS DISTINCT FROM $1
  UNION ALL
  SELECT 'digest-key', name, box, box_key_version
  FROM sealed_keys WHERE box_key_version IS DISTINCT FROM $1
  UNION ALL
  SELECT 'authority-key', ca_id, key_box, box_key_version
  FROM certificate_authorities WHERE key_box IS NOT NULL AND box_key_version IS DISTINCT FROM $1`;

const REPLACE: Readonly<Record<StoredBox["place"], string>> = {
  "signing-key": `
    UPDATE signing_keys SET private_box = $3, box_key_version = $4
    WHERE 'signing-key/' || kid = $1 AND private_box = $2`,
  "digest-key": `
    UPDATE sealed_keys SET box = $3, box_key_version = $4 WHERE name = $1 AND box = $2`,
  "authority-key": `
    UPDATE certificate_authorities SET key_box = $3, box_key_version = $4
    WHERE 'certificate-authority/' || ca_id = $1 AND key_box = $2`,
};

/** The name of a box, by what its row is called. */
const NAMES: Readonly<Record<StoredBox["place"], (key: string) => string>> = {
  "signing-key": signingKeyBoxName,
  "digest-key": (name) => name,
  "authority-key": authorityBoxName,
};

const FIND = `SELECT box, box_key_version AS "keyVersion" FROM sealed_keys WHERE name = $1`;
const INSERT = `
  INSERT INTO sealed_keys (name, box, box_key_version) VALUES ($1, $2, $3)
  ON CONFLICT (name) DO NOTHING`;

interface BoxRow {
  readonly box: Buffer;
  readonly keyVersion: number | null;
}

function toBox({ box, keyVersion }: BoxRow): SealedBox {
  return { box, keyVersion: keyVersion ?? undefined };
}

/** Creates the store of the boxes of vault itself. */
export function createBoxStore(pool: Pool): BoxStore {
  async function find(name: string): Promise<SealedBox | undefined> {
    const { rows } = await pool.query<BoxRow>(FIND, [name]);
    const [row] = rows;
    return row === undefined ? undefined : toBox(row);
  }

  return {
    async listStale(keyVersion) {
      const { rows } = await pool.query<
        BoxRow & { readonly place: StoredBox["place"]; readonly key: string }
      >(LIST_STALE, [keyVersion]);
      return rows.map(({ place, key, ...row }) => ({
        ...toBox(row),
        place,
        name: NAMES[place](key),
      }));
    },
    async replace(from, to) {
      await pool.query(REPLACE[from.place], [from.name, from.box, to.box, to.keyVersion ?? null]);
    },
    find,
    async ensure(name, make) {
      const existing = await find(name);
      if (existing !== undefined) return existing;
      const { box, keyVersion } = make();
      await pool.query(INSERT, [name, box, keyVersion ?? null]);
      // Replicas that start together end up with the same box.
      return (await find(name)) as SealedBox;
    },
  };
}
