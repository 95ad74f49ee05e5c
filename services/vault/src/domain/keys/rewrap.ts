import type { KeyReader } from "./named-key.ts";
import { keyVersionPlace } from "./named-key.ts";
import type { TenantKeyring } from "./tenant-keyring.ts";

/** Versions that one step takes: bounds its time and what a crash repeats. */
const REWRAP_BATCH = 100;

/** Moves some versions of keys under the newest key of their namespace, and removes namespace keys under which nothing is
 * left. Returns how many were moved. A crash repeats a step and changes nothing by it. */
export async function rewrapVersions(keys: KeyReader, keyring: TenantKeyring): Promise<number> {
  const stale = await keys.listStaleVersions(REWRAP_BATCH);
  for (const version of stale) {
    if (version.wrapped === undefined) continue;
    const place = keyVersionPlace(version);
    const secret = await keyring.unwrap(version.namespace, place, version.wrapped);
    try {
      await keys.replaceWrapping(version, await keyring.wrap(version.namespace, place, secret));
    } finally {
      secret.fill(0);
    }
  }
  if (stale.length < REWRAP_BATCH) await keys.deleteUnusedTenantKeys();
  return stale.length;
}
