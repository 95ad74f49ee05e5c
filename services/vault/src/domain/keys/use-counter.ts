import { keyExhausted } from "./key-errors.ts";
import type { KeyReader, NamedKey, VersionName } from "./named-key.ts";

/** At this many uses a version of a plain key is replaced, and beyond that many it is refused: half and 0.9 of 2^32.
 * With 96-bit random IVs, 2^32 uses are where NIST SP 800-38D section 8.3 ends. */
export const PLAIN_ROTATE_USES = 2 ** 31;
export const PLAIN_USES_MAX = 3_865_470_566;

/** Uses taken from the database at once. A crash wastes what is left of a block. */
const BLOCK_USES = 65_536;
/** A small `max_uses` is taken in as many blocks as this, so that a crash wastes little of it. */
const BLOCKS_PER_MAX = 16;
/** Versions whose blocks are remembered; the one that was used longest ago wastes its block. */
const BLOCKS_MAX = 10_000;

/** When the next version is made by use: the lower of the policy and the format's own bound; undefined for never. */
export function rotateAtUses({
  type,
  maxUses,
}: Pick<NamedKey, "type" | "maxUses">): number | undefined {
  const bounds = [
    ...(type === "plain-gcm" ? [PLAIN_ROTATE_USES] : []),
    ...(maxUses > 0 ? [maxUses] : []),
  ];
  return bounds.length === 0 ? undefined : Math.min(...bounds);
}

interface Block {
  left: number;
  taking: Promise<void> | undefined;
}

/** What a UseCounter needs. */
export interface UseCounterOptions {
  readonly keys: Pick<KeyReader, "reserveUses">;
  /** Hears that a version has been used as often as it should be. */
  readonly onDue: (key: NamedKey) => void;
}

/** Counts uses of keys durably and fast: a block of uses is taken from Postgres before the first of them is made, and
 * the rest of the block costs nothing. No use is ever counted twice or not at all; after a crash fewer are left. */
export class UseCounter {
  readonly #options: UseCounterOptions;
  readonly #blocks = new Map<string, Block>();

  constructor(options: UseCounterOptions) {
    this.#options = options;
  }

  /** Takes uses of the key's latest version. Nothing to do for a key that is not counted.
   * Errors: exhausted/KEY_EXHAUSTED at the format's bound. */
  async take(key: NamedKey, uses: number): Promise<void> {
    const threshold = rotateAtUses(key);
    if (threshold === undefined) return;
    const block = this.#blockOf(key.keyId, key.latestVersion);
    while (block.left < uses) {
      block.taking ??= this.#refill(key, block, { threshold, uses }).finally(() => {
        block.taking = undefined;
      });
      await block.taking;
    }
    block.left -= uses;
  }

  /** Forgets the blocks of a key, which wastes them. */
  forget(keyId: string): void {
    for (const name of [...this.#blocks.keys()]) {
      if (name.startsWith(`${keyId}/`)) this.#blocks.delete(name);
    }
  }

  async #refill(
    key: NamedKey,
    block: Block,
    { threshold, uses }: { readonly threshold: number; readonly uses: number },
  ): Promise<void> {
    const { keys, onDue } = this.#options;
    const usual = Math.min(BLOCK_USES, Math.max(1, Math.floor(threshold / BLOCKS_PER_MAX)));
    const count = Math.max(usual, uses);
    const limit = key.type === "plain-gcm" ? PLAIN_USES_MAX : Number.MAX_SAFE_INTEGER;
    const version: VersionName = { keyId: key.keyId, version: key.latestVersion };
    const reserved = await keys.reserveUses({ ...version, count, limit });
    if (reserved === undefined || reserved >= threshold) onDue(key);
    if (reserved === undefined) throw keyExhausted();
    block.left += count;
  }

  #blockOf(keyId: string, version: number): Block {
    const name = `${keyId}/${version}`;
    const block = this.#blocks.get(name) ?? { left: 0, taking: undefined };
    this.#blocks.delete(name);
    this.#blocks.set(name, block);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > BLOCKS_MAX && oldest !== undefined) this.#blocks.delete(oldest);
    return block;
  }
}
