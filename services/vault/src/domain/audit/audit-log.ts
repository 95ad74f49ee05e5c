import {
  consistencyTiles,
  edgeTiles,
  formatCheckpoint,
  HASH_BYTES,
  hashLeaf,
  inclusionTiles,
  isSignedBy,
  signNote,
  TILE_HASHES,
  TileSet,
  tryParseCheckpoint,
} from "@nexus/merkle";
import type { AuditExtension, AuditStore, EntryFacts, Leaf, SignedState } from "./audit-entries.ts";
import { auditEmpty, auditLogTampered, auditRangeInvalid, isTampered } from "./audit-errors.ts";
import type { AuditSigner } from "./audit-signer.ts";

/** How an entry is encoded, which is a matter of the contract. */
export interface EntryFormat {
  /** Makes the leaf of a draft. */
  finish(draft: Uint8Array, index: number, timeUs: bigint): Buffer;
  /** What the index knows of a draft. */
  describe(draft: Uint8Array): EntryFacts;
}

/** What the log reports. */
export interface AuditLogEvents {
  auditSequenced(count: number, size: number): void;
  /** Entries of a service are in the log as notices alone. */
  auditEntriesQuarantined(service: string, count: number): void;
  /** Somebody changed what is stored: the log stands still until a person has looked. */
  auditTampered(error: unknown): void;
}

/** What an AuditLog needs. */
export interface AuditLogOptions {
  readonly store: AuditStore;
  readonly signer: AuditSigner;
  readonly format: EntryFormat;
  readonly events: AuditLogEvents;
}

/** Leaves under one checkpoint at most. */
const BATCH_MAX = 2048;
/** Checkpoints in one export; the contract says so. */
const EXPORT_CHECKPOINTS_MAX = 4096;

/** Leaves with the hashes that the tree has stored for them. */
export interface ExportedLeaves {
  readonly leaves: readonly Leaf[];
  readonly storedHashes: Buffer;
  /** Where to go on. */
  readonly next: number;
}

/** The audit log: gives committed entries their places in a Merkle tree, signs its states, and proves what it says.
 *
 * It never signs a state that does not go on from the last one that it signed or has seen signed. */
export class AuditLog {
  readonly #options: AuditLogOptions;
  /** The largest state that this replica has seen under the log's signature. */
  #seen: SignedState | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Gives places to what was committed; true when there may be more. Nothing to do for a replica while another one is at
   * it, and none while vault is sealed: then entries wait.
   * Errors: data_loss/AUDIT_LOG_TAMPERED. */
  async sequence(): Promise<boolean> {
    const { store, signer, events } = this.#options;
    if (!signer.isOpen || !(await store.hasWaiting())) return false;
    let added: { readonly count: number; readonly state: SignedState } | undefined;
    try {
      await store.exclusively(async (log) => {
        added = await this.#extend(log);
      });
    } catch (error) {
      if (isTampered(error)) events.auditTampered(error);
      throw error;
    }
    if (added === undefined) return false;
    this.#seen = added.state;
    events.auditSequenced(added.count, added.state.size);
    return added.count === BATCH_MAX;
  }

  /** The newest signed state. Errors: precondition/AUDIT_EMPTY. */
  async latest(): Promise<SignedState> {
    const state = await this.#options.store.latest();
    if (state === undefined) throw auditEmpty();
    return state;
  }

  /** Errors: invalid/AUDIT_RANGE_INVALID; precondition/AUDIT_EMPTY. */
  async inclusionProof(index: number, wantedSize: number) {
    const size = await this.#sizeOf(wantedSize);
    if (index >= size) throw auditRangeInvalid(size);
    const names = [...inclusionTiles(index, size), leafTile(index)];
    const tiles = await this.#options.store.tiles(names);
    const set = new TileSet(tiles);
    return { size, proof: set.inclusionProof(index, size), leafHash: storedHash(tiles, index) };
  }

  /** Errors: invalid/AUDIT_RANGE_INVALID; precondition/AUDIT_EMPTY. */
  async consistencyProof(firstSize: number, wantedSize: number) {
    const size = await this.#sizeOf(wantedSize);
    if (firstSize > size) throw auditRangeInvalid(size);
    const tiles = await this.#options.store.tiles(consistencyTiles(firstSize, size));
    return { size, proof: new TileSet(tiles).consistencyProof(firstSize, size) };
  }

  /** What an export begins with. */
  async exportStart(): Promise<{ readonly size: number; readonly checkpoints: readonly string[] }> {
    const { size } = await this.latest();
    const checkpoints = await this.#options.store.checkpoints(size, EXPORT_CHECKPOINTS_MAX);
    return { size, checkpoints };
  }

  /** Some leaves with their stored hashes, from an index on and within one tile. */
  async exportLeaves(from: number, size: number): Promise<ExportedLeaves> {
    const to = Math.min(size, (Math.floor(from / TILE_HASHES) + 1) * TILE_HASHES);
    const { store } = this.#options;
    const leaves = await store.range({ from, to, limit: TILE_HASHES });
    const tiles = await store.tiles([leafTile(from)]);
    const hashes = leaves.map(({ index }) => storedHash(tiles, index));
    return { leaves, storedHashes: Buffer.concat(hashes), next: to };
  }

  async #sizeOf(wanted: number): Promise<number> {
    const { size } = await this.latest();
    if (wanted > size) throw auditRangeInvalid(size);
    return wanted === 0 ? size : wanted;
  }

  async #extend(log: AuditExtension) {
    const { signer, format } = this.#options;
    const latest = await log.latest();
    this.#assertGoesOn(latest);
    const drafts = await log.waiting(BATCH_MAX);
    if (drafts.length === 0) return undefined;
    const size = latest?.size ?? 0;
    const tiles = new TileSet(await log.tiles(edgeTiles(size)));
    assertRoot(tiles, latest);
    const leaves = drafts.map(({ draft, timeUs }, place) => {
      const index = size + place;
      const leaf = format.finish(draft, index, timeUs);
      tiles.append(index, hashLeaf(leaf));
      return { index, leaf, timeUs, ...format.describe(draft) };
    });
    const root = Buffer.from(tiles.root(size + leaves.length));
    const state = this.#sign({ size: size + leaves.length, root }, signer);
    await log.extend({ drafts, leaves, tiles: tiles.changed(), state });
    return { count: drafts.length, state };
  }

  #sign(state: Omit<SignedState, "note">, signer: AuditSigner): SignedState {
    const key = signer.key();
    return { ...state, note: signNote(formatCheckpoint({ ...state, origin: key.name }), key) };
  }

  /** Refuses to go on from a state that was not signed, or is behind one that was.
   * Errors: data_loss/AUDIT_LOG_TAMPERED. */
  #assertGoesOn(latest: SignedState | undefined): void {
    const seen = this.#seen;
    if (latest === undefined) {
      if (seen !== undefined) throw auditLogTampered(`it is empty, and had ${seen.size} leaves`);
      return;
    }
    if (seen !== undefined && latest.size < seen.size) {
      throw auditLogTampered(`it has ${latest.size} leaves, and had ${seen.size}`);
    }
    if (seen?.note === latest.note) return;
    if (seen?.size === latest.size) {
      throw auditLogTampered(`there are two states of ${seen.size} leaves`);
    }
    const checkpoint = tryParseCheckpoint(latest.note);
    const isOurs = isSignedBy(latest.note, this.#options.signer.key());
    const isWhole = checkpoint?.size === latest.size && latest.root.equals(checkpoint.root);
    if (!isOurs || !isWhole) throw auditLogTampered("its newest checkpoint is not signed");
    this.#seen = latest;
  }
}

function assertRoot(tiles: TileSet, latest: SignedState | undefined): void {
  if (latest === undefined) return;
  let root: Uint8Array | undefined;
  try {
    root = tiles.root(latest.size);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  if (root === undefined || !latest.root.equals(root)) {
    throw auditLogTampered("its tree has another root than its newest checkpoint");
  }
}

function leafTile(index: number) {
  return { level: 0, index: Math.floor(index / TILE_HASHES) };
}

function storedHash(
  tiles: readonly { readonly level: number; readonly index: number; readonly hashes: Uint8Array }[],
  index: number,
): Uint8Array {
  const { index: wanted } = leafTile(index);
  const tile = tiles.find((candidate) => candidate.level === 0 && candidate.index === wanted);
  const at = (index % TILE_HASHES) * HASH_BYTES;
  const hash = tile?.hashes.subarray(at, at + HASH_BYTES);
  if (hash?.byteLength !== HASH_BYTES) throw auditLogTampered(`the hash of leaf ${index} is gone`);
  return hash;
}
