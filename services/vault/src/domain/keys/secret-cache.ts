import { type Clock, NexusError } from "@nexus/shared";

interface Entry {
  readonly secret: Buffer;
  readonly endsAtMs: number;
}

interface Load {
  readonly done: Promise<void>;
  /** The key was dropped meanwhile: what comes is not kept. */
  dropped: boolean;
}

/** What bounds a SecretCache. */
export interface SecretCacheOptions {
  /** Most keys held. */
  readonly max: number;
  readonly ttlMs: number;
  readonly clock: Clock;
}

/** A key that is dropped again and again while it loads is being fought over; this many times is enough. */
const LOADS_MAX = 5;

/** Opened keys in memory: bounded, each for a limited time, and overwritten with zeros when it leaves.
 *
 * A key is lent for one synchronous step only, so it cannot be zeroed under its user. What was read before a key was
 * dropped is not kept: a destroyed key does not come back through a reading that had begun earlier. V8 may have copied
 * bytes on the way here, so zeroing shortens a key's life in memory and proves nothing. */
export class SecretCache {
  readonly #options: SecretCacheOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #loading = new Map<string, Load>();

  constructor(options: SecretCacheOptions) {
    this.#options = options;
  }

  /** Keys held. */
  get size(): number {
    return this.#entries.size;
  }

  /** Lends a key for one synchronous step, opening it first when it is not at hand. Callers that want the same key
   * share one load. Errors: those of load and use; unavailable/NOT_READY when the key is dropped as fast as it loads. */
  async use<T>(name: string, load: () => Promise<Buffer>, use: (secret: Buffer) => T): Promise<T> {
    for (let loads = 0; loads <= LOADS_MAX; loads++) {
      const secret = this.#get(name);
      if (secret !== undefined) return use(secret);
      await this.#load(name, load);
    }
    throw new NexusError({
      kind: "unavailable",
      reason: "NOT_READY",
      message: "The key changes too fast to be used.",
    });
  }

  delete(name: string): void {
    const load = this.#loading.get(name);
    if (load !== undefined) load.dropped = true;
    this.#drop(name);
  }

  /** Drops every key whose name begins so. */
  deleteAll(prefix = ""): void {
    for (const [name, load] of this.#loading) {
      if (name.startsWith(prefix)) load.dropped = true;
    }
    for (const name of [...this.#entries.keys()]) {
      if (name.startsWith(prefix)) this.#drop(name);
    }
  }

  /** Drops the keys whose time is over. */
  sweep(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const [name, { endsAtMs }] of [...this.#entries]) {
      if (endsAtMs <= nowMs) this.#drop(name);
    }
  }

  #get(name: string): Buffer | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    this.#entries.delete(name);
    if (entry.endsAtMs <= this.#options.clock.nowMs()) {
      entry.secret.fill(0);
      return undefined;
    }
    this.#entries.set(name, entry);
    return entry.secret;
  }

  #load(name: string, load: () => Promise<Buffer>): Promise<void> {
    const running = this.#loading.get(name);
    if (running !== undefined) return running.done;
    const done = load()
      .then((secret) => {
        if (started.dropped) secret.fill(0);
        else this.#set(name, secret);
      })
      .finally(() => this.#loading.delete(name));
    const started: Load = { done, dropped: false };
    this.#loading.set(name, started);
    return done;
  }

  #set(name: string, secret: Buffer): void {
    const { max, ttlMs, clock } = this.#options;
    this.#drop(name);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= max && oldest !== undefined) this.#drop(oldest);
    this.#entries.set(name, { secret, endsAtMs: clock.nowMs() + ttlMs });
  }

  #drop(name: string): void {
    this.#entries.get(name)?.secret.fill(0);
    this.#entries.delete(name);
  }
}
