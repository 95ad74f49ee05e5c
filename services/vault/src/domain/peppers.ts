import { createSecretKey, type KeyObject } from "node:crypto";
import { pepperVersionSkipped } from "./errors.ts";
import type { Pepper } from "./password-hash.ts";
import type { BoxStore, SealedBox } from "./sealed-box.ts";

/** What Peppers need. */
export interface PeppersOptions {
  /** The version that new hashes get. */
  readonly current: number;
  readonly boxes: Pick<BoxStore, "ensure" | "find">;
}

/** Seals and opens the boxes of peppers. */
export interface PepperBoxes {
  newBox(name: string): SealedBox;
  open(name: string, box: SealedBox): Buffer;
}

/** The first follows from vault's digest key; each later one is a key of its own, so that a new one is worth something when
 * the one before has become known. */
const FIRST_VERSION = 1;

/** The peppers of password hashes, by version. The current one is put into new hashes, the one before still checks, and older ones
 * are not accepted. Newer ones are: another replica may have been given the next version first. */
export class Peppers {
  readonly #options: PeppersOptions;
  readonly #keys = new Map<number, KeyObject>();
  #sealer: PepperBoxes | undefined;

  constructor(options: PeppersOptions) {
    this.#options = options;
  }

  /** The version of new hashes. */
  get version(): number {
    return this.#options.current;
  }

  /** The oldest version that is still accepted. */
  get oldest(): number {
    return Math.max(FIRST_VERSION, this.version - 1);
  }

  /** Takes the first pepper over, and reads the current one, making it if it is missing. The one before was there before: a version
   * that was skipped would lock everybody out, so it is refused.
   * Errors: of the database; data_loss/SEALED_KEY_UNREADABLE; precondition/PEPPER_VERSION_SKIPPED. */
  async open(first: Buffer, sealer: PepperBoxes): Promise<void> {
    this.#sealer = sealer;
    this.#take(FIRST_VERSION, first);
    const { current, boxes } = this.#options;
    if (current === FIRST_VERSION) return;
    const before = await this.find(current - 1);
    if (this.#sealer !== sealer) return;
    if (before === undefined) throw pepperVersionSkipped(current);
    const name = boxNameOf(current);
    const box = await boxes.ensure(name, () => sealer.newBox(name));
    if (this.#sealer === sealer) this.#take(current, sealer.open(name, box));
  }

  /** Forgets all of them. */
  close(): void {
    this.#keys.clear();
    this.#sealer = undefined;
  }

  /** What new hashes get; undefined while vault is sealed. */
  get current(): Pepper | undefined {
    return this.#known(this.version);
  }

  /** The pepper of a stored hash; undefined when it is not accepted, or there is none. */
  async find(version: number): Promise<Pepper | undefined> {
    const sealer = this.#sealer;
    if (version < this.oldest || sealer === undefined) return undefined;
    const known = this.#known(version);
    if (known !== undefined) return known;
    const name = boxNameOf(version);
    const box = await this.#options.boxes.find(name);
    // A seal in the meantime has forgotten all of them, and none must come back.
    if (box === undefined || this.#sealer !== sealer) return undefined;
    this.#take(version, sealer.open(name, box));
    return this.#known(version);
  }

  #known(version: number): Pepper | undefined {
    const key = this.#keys.get(version);
    return key === undefined ? undefined : { version, key };
  }

  #take(version: number, key: Buffer): void {
    this.#keys.set(version, createSecretKey(key));
    key.fill(0);
  }
}

/** The name of a pepper's box among the boxes of vault itself. */
function boxNameOf(version: number): string {
  return `password-pepper/${version}`;
}
