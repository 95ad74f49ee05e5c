/** Something that vault itself stores encrypted. */
export interface SealedBox {
  /** AES-256-GCM: ciphertext, 12 bytes IV, 16 bytes tag. */
  readonly box: Buffer;
  /** The version of vault's own tenant key that it is under; undefined for a box of an earlier version of vault, under
   * the key encryption key. */
  readonly keyVersion: number | undefined;
}

/** Which of vault's own tables a box lies in. */
export type BoxPlace = "signing-key" | "digest-key" | "authority-key";

/** A stored box and where it lies. */
export interface StoredBox extends SealedBox {
  readonly place: BoxPlace;
  /** What the box is bound to: its associated data. */
  readonly name: string;
}

/** All boxes of vault itself. */
export interface BoxStore {
  /** Those that are not under this version. */
  listStale(keyVersion: number): Promise<readonly StoredBox[]>;
  /** Replaces a box, if it is still the one that was read. */
  replace(from: StoredBox, to: SealedBox): Promise<void>;
  /** Returns the stored box of this name, if there is one. */
  find(name: string): Promise<SealedBox | undefined>;
  /** Returns the stored box of this name, storing a new one first if there is none. */
  ensure(name: string, make: () => SealedBox): Promise<SealedBox>;
}
