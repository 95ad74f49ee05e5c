/** What a handler adds to the entry of its call. */
export interface AuditFacts {
  /** The tenant that the call is about, when the caller's token does not say. */
  readonly namespace?: string;
  /** Whom a proof proved. */
  readonly actor?: string;
  /** `user`, `agent` or `service`. */
  readonly actorKind?: string;
  /** What it was done on, when no field of the request says. */
  readonly resource?: string;
  /** More to keep: names and values that are no secret. An empty value is not kept, and takes back one of before. */
  readonly fields?: Readonly<Record<string, string>>;
}

/** The entry of one call, as the transaction that makes the change stores it. */
export interface AuditRecord {
  /** A UUID, the same in every draft. */
  readonly entryId: string;
  /** Adds facts; those of before stay unless they are said anew. */
  note(facts: AuditFacts): void;
  /** The encoded entry, of a call that does what was asked. */
  draft(): Uint8Array;
  /** To be called once the transaction that holds the draft has been committed. */
  stored(): void;
  /** To be called before a call is handed on to another replica of the service, which enters it, and when it is served here after
   * all. @default "self" */
  servedBy(whom: "self" | "another"): void;
}
