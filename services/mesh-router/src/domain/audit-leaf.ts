/** The entry of a call in the audit log, which commits with what the call changes. */
export interface AuditLeaf {
  /** The encoded entry. */
  draft(): Uint8Array;
  /** To be called once the transaction that holds it has been committed. */
  stored(): void;
}
