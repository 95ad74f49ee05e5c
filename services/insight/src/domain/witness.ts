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
  /** As it was first seen, or configured. */
  readonly key: string;
  readonly last: SeenCheckpoint | undefined;
}

/** What the witness has kept; nobody takes anything back from it. */
export interface WitnessStore {
  find(origin: string): Promise<KnownLog | undefined>;
  /** Keeps the key of a log that is new; the first one stays. */
  pin(origin: string, key: string): Promise<void>;
  /** Keeps a checkpoint, if the largest one is still the one it was checked against; false when it is not. */
  keep(checkpoint: SeenCheckpoint, after: number): Promise<boolean>;
  refuse(origin: string, why: string): Promise<void>;
  /** Seconds since 1970, of the database. */
  nowS(): Promise<number>;
}

/** The log, as it shows itself. */
export interface WitnessedLog {
  /** Undefined while it has no checkpoint. */
  latest(): Promise<{ readonly note: string; readonly key: string } | undefined>;
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
 * Source: C2SP tlog-witness; it asks instead of being told, so a log that stops telling is noticed as well. */
export class Witness {
  readonly #options: WitnessOptions;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** Takes the newest checkpoint, or refuses it. For a loop. */
  async step(): Promise<void> {
    const { log, store, events, pinnedKey } = this.#options;
    const latest = await log.latest();
    if (latest === undefined) return;
    const shown = tryParseNoteKey(pinnedKey ?? latest.key);
    const checkpoint = tryParseCheckpoint(latest.note);
    if (shown === undefined || checkpoint === undefined) {
      events.checkpointRefused("", "it is malformed");
      return;
    }
    const { origin } = checkpoint;
    await store.pin(origin, pinnedKey ?? latest.key);
    const known = await store.find(origin);
    const seen = { ...checkpoint, root: Buffer.from(checkpoint.root), note: latest.note };
    const why = await this.#objection(seen, known);
    if (why !== undefined) {
      await store.refuse(origin, why);
      events.checkpointRefused(origin, why);
      return;
    }
    if (seen.size === known?.last?.size) return;
    await this.#keep(seen, known?.last?.size ?? 0);
  }

  async #keep(seen: SeenCheckpoint, after: number): Promise<void> {
    const { store, signer, events } = this.#options;
    const note = cosignNote(seen.note, signer, await store.nowS());
    if (await store.keep({ ...seen, note }, after)) events.checkpointWitnessed(seen.size);
  }

  /** Why a checkpoint is refused; undefined when it goes on from the last one. */
  async #objection(seen: SeenCheckpoint, known: KnownLog | undefined): Promise<string | undefined> {
    const key: NoteKey | undefined = tryParseNoteKey(known?.key ?? "");
    if (key?.name !== seen.origin || !isSignedBy(seen.note, key)) {
      return "it is not signed by the log's key";
    }
    const last = known?.last;
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
