import {
  cosignNote,
  isSignedBy,
  type NoteKey,
  type NoteSigner,
  tryParseCheckpoint,
  tryParseNoteKey,
  verifiesConsistency,
} from "@nexus/merkle";

/** A checkpoint that was checked. */
export interface SeenCheckpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  /** With the witness's cosignature. */
  readonly note: string;
}

/** What is known of a log. */
export interface KnownLog {
  readonly origin: string;
  /** As it was first seen, or configured. */
  readonly key: string;
  readonly last: SeenCheckpoint | undefined;
}

/** What the witness has kept; nobody takes anything back from it. */
export interface WitnessStore {
  /** Every log that was seen: one, unless the deployment pinned the key of another. */
  known(): Promise<readonly KnownLog[]>;
  /** Keeps the key of a log that is new; the first one stays. */
  pin(origin: string, key: string): Promise<void>;
  /** Keeps a checkpoint, if the largest one is still the one it was checked against; false when it is not. */
  keep(checkpoint: SeenCheckpoint, after: number): Promise<boolean>;
  refuse(origin: string, why: string): Promise<void>;
  /** Seconds since 1970, of the database. */
  nowS(): Promise<number>;
}

/** A checkpoint as the log shows it. */
export interface ShownCheckpoint {
  readonly note: string;
  readonly key: string;
}

/** The log, as it shows itself. */
export interface WitnessedLog {
  /** Its newest checkpoint; "empty" when it has none, undefined while it cannot say. */
  latest(): Promise<ShownCheckpoint | "empty" | undefined>;
  consistencyProof(firstSize: number, secondSize: number): Promise<readonly Uint8Array[]>;
}

/** What the witness reports. */
export interface WitnessEvents {
  checkpointWitnessed(size: number): void;
  /** The log contradicts what was kept: somebody has to look. */
  checkpointRefused(origin: string, why: string): void;
}

/** What a Witness needs. */
export interface WitnessOptions {
  readonly log: WitnessedLog;
  readonly store: WitnessStore;
  readonly signer: NoteSigner;
  /** The log's key as the deployment pins it; undefined: the first one seen is. */
  readonly pinnedKey: string | undefined;
  readonly events: WitnessEvents;
}

/** Holds each checkpoint of the audit log against the one before, and keeps only what goes on from it.
 *
 * Source: C2SP tlog-witness; it asks instead of being told, so a log that has lost everything, or has another name, is noticed as
 * well. One that gives no answer is an error of the loop; one that is sealed is waited for. */
export class Witness {
  readonly #options: WitnessOptions;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** Takes the newest checkpoint, or refuses it. For a loop. */
  async step(): Promise<void> {
    const { log, store, events, pinnedKey } = this.#options;
    // Before the log is asked: what another replica keeps meanwhile may be newer than the answer.
    const logs = await store.known();
    const latest = await log.latest();
    if (latest === undefined) return;
    if (latest === "empty") {
      for (const { origin, last } of logs) {
        if (last !== undefined) await this.#refuse(origin, `it is empty, and had ${last.size}`);
      }
      return;
    }
    const shown = tryParseNoteKey(pinnedKey ?? latest.key);
    const checkpoint = tryParseCheckpoint(latest.note);
    if (shown === undefined || checkpoint === undefined) {
      events.checkpointRefused("", "it is malformed");
      return;
    }
    const { origin } = checkpoint;
    const known = logs.find((one) => one.origin === origin);
    if (known === undefined) {
      await this.#meet(origin, pinnedKey ?? latest.key, logs);
      return;
    }
    const seen = { ...checkpoint, root: Buffer.from(checkpoint.root), note: latest.note };
    const why = await this.#objection(seen, known);
    if (why !== undefined) {
      await this.#refuse(origin, why);
      return;
    }
    if (seen.size === known.last?.size) return;
    await this.#keep(seen, known.last?.size ?? 0);
  }

  /** Keeps the key of a log that is new; its checkpoint is for the next step. Without a pinned key only the first log is taken: a second
   * one is the first under another name. */
  async #meet(origin: string, key: string, logs: readonly KnownLog[]): Promise<void> {
    const { store, pinnedKey } = this.#options;
    if (logs.length === 0 || tryParseNoteKey(pinnedKey ?? "")?.name === origin) {
      await store.pin(origin, key);
      return;
    }
    const why = `another log is in its place: ${origin}`;
    for (const one of logs) await this.#refuse(one.origin, why);
  }

  async #refuse(origin: string, why: string): Promise<void> {
    await this.#options.store.refuse(origin, why);
    this.#options.events.checkpointRefused(origin, why);
  }

  async #keep(seen: SeenCheckpoint, after: number): Promise<void> {
    const { store, signer, events } = this.#options;
    const note = cosignNote(seen.note, signer, await store.nowS());
    if (await store.keep({ ...seen, note }, after)) events.checkpointWitnessed(seen.size);
  }

  /** Why a checkpoint is refused; undefined when it goes on from the last one. */
  async #objection(seen: SeenCheckpoint, known: KnownLog): Promise<string | undefined> {
    const key: NoteKey | undefined = tryParseNoteKey(known.key);
    if (key?.name !== seen.origin || !isSignedBy(seen.note, key)) {
      return "it is not signed by the log's key";
    }
    const { last } = known;
    if (last === undefined) return undefined;
    if (seen.size < last.size) return `it has ${seen.size} leaves, and had ${last.size}`;
    if (seen.size === last.size) {
      return seen.root.equals(last.root) ? undefined : `there are two trees of ${seen.size} leaves`;
    }
    const proof = await this.#options.log.consistencyProof(last.size, seen.size);
    const goesOn = verifiesConsistency({
      firstSize: last.size,
      secondSize: seen.size,
      firstRoot: last.root,
      secondRoot: seen.root,
      proof,
    });
    return goesOn ? undefined : `${seen.size} leaves do not begin with the ${last.size} before`;
  }
}
