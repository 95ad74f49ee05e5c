import type { KeyReader, StaleVersion } from "./named-key.ts";
import { keyVersionPlace } from "./named-key.ts";
import { RewrapPass, type RewrapStep } from "./rewrap-pass.ts";
import type { TenantKeyring } from "./tenant-keyring.ts";

/** Moves versions of keys under the newest key of their namespace, and removes namespace keys under which nothing is
 * left. A crash repeats a step and changes nothing by it. */
export class VersionRewrap {
  readonly #keys: KeyReader;
  readonly #keyring: TenantKeyring;
  readonly #pass = new RewrapPass<StaleVersion>();

  constructor(keys: KeyReader, keyring: TenantKeyring) {
    this.#keys = keys;
    this.#keyring = keyring;
  }

  /** Moves some versions. */
  async step(): Promise<RewrapStep> {
    const step = await this.#pass.step(
      (after, limit) => this.#keys.listStaleVersions(after, limit),
      (row) => this.#move(row),
    );
    if (step.complete) await this.#keys.deleteUnusedTenantKeys();
    return step;
  }

  async #move(version: StaleVersion): Promise<void> {
    const { namespace, wrapped } = version;
    if (wrapped === undefined) return;
    const place = keyVersionPlace(version);
    const secret = await this.#keyring.unwrap(namespace, place, wrapped);
    try {
      const moved = await this.#keyring.wrap(namespace, place, secret);
      await this.#keys.replaceWrapping(version, moved);
    } finally {
      secret.fill(0);
    }
  }
}
