import { type Cache, type Clock, createLruCache } from "@nexus/shared";
import type { KeyReader, VersionName } from "./named-key.ts";

/** Versions whose use is noted between two writes. */
const NOTED_MAX = 10_000;
/** The first use of a version in this time is written before its answer. Well below the 24 h that a use counts. */
const FRESH_MS = 12 * 3_600_000;

/** Which versions were used to decrypt, for whoever wants to refuse old ones. The first use of a version is written at
 * once, or a replica could raise the minimum above what another one has just decrypted; those after it in bulk. */
export class DecryptNotes {
  readonly #keys: Pick<KeyReader, "markDecrypted">;
  readonly #written: Cache<string, true>;
  readonly #noted = new Map<string, VersionName>();

  constructor(keys: Pick<KeyReader, "markDecrypted">, clock: Clock) {
    this.#keys = keys;
    this.#written = createLruCache({ max: NOTED_MAX, ttlMs: FRESH_MS, clock });
  }

  /** Never fails: a database that is away keeps nobody from decrypting. */
  async note({ keyId, version }: VersionName): Promise<void> {
    const name = `${keyId}/${version}`;
    const isFirst = this.#written.get(name) === undefined;
    if (!isFirst && this.#noted.size >= NOTED_MAX) return;
    this.#noted.set(name, { keyId, version });
    if (!isFirst) return;
    // Before the write: while it fails, one use in that time waits for it and not all.
    this.#written.set(name, true);
    await this.flush().catch(() => undefined);
  }

  /** Writes what is noted. */
  async flush(): Promise<void> {
    const noted = [...this.#noted];
    if (noted.length === 0) return;
    await this.#keys.markDecrypted(noted.map(([, version]) => version));
    for (const [name] of noted) this.#noted.delete(name);
  }
}
