/** How far everything is that any replica may change. */
export interface Standing {
  /** The last revision of each. */
  readonly revocations: bigint;
  readonly policies: bigint;
  readonly keys: bigint;
  /** An operator sealed vault. */
  readonly isSealed: boolean;
  /** The newest version of vault's own tenant key; undefined before there is one. */
  readonly boxKeyVersion: number | undefined;
  /** Audit entries without a place in the log. */
  readonly entriesWaiting: number;
  /** Leaves of the audit log. */
  readonly logSize: number;
  /** The database's time. */
  readonly nowMs: number;
}

/** Something that is read again when it changed. */
export interface Followed {
  /** Says whether there is something to read, and keeps in mind what. */
  isNew(standing: Standing): boolean;
  read(signal: AbortSignal): Promise<void>;
}

/** Follows what one number tells of: it is read whenever the number is another one than before the last reading that did not fail. */
export function followNumber(
  numberOf: (standing: Standing) => bigint | number,
  read: (signal: AbortSignal) => Promise<void>,
): Followed {
  let newest: bigint | number | undefined;
  let seen: bigint | number | undefined;
  return {
    isNew: (standing) => {
      newest = numberOf(standing);
      return newest !== seen;
    },
    read: async (signal) => {
      const reading = newest;
      await read(signal);
      seen = reading;
    },
  };
}
