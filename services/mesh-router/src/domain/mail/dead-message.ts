/** Durable messages that were given up, as operators see them. */
import type { AuditLeaf } from "../audit-leaf.ts";
import type { DeathReason } from "./mail.ts";

/** Chooses dead messages; what is undefined does not count. */
export interface DeadMessageFilter {
  readonly toAgentId: string | undefined;
  readonly from: string | undefined;
  readonly reason: string | undefined;
}

/** Which dead messages a call is about: these, or those that fit. */
export type DeadMessageChoice =
  | { readonly kind: "ids"; readonly ids: readonly bigint[] }
  | { readonly kind: "filter"; readonly filter: DeadMessageFilter };

/** A message that was given up. */
export interface DeadMessage {
  readonly id: bigint;
  readonly toAgentId: string;
  readonly from: string;
  /** The fields of its Delivery, encoded. */
  readonly envelope: Uint8Array;
  readonly reason: DeathReason;
  readonly text: string;
  readonly failures: number;
  readonly diedAt: Date;
  readonly redeliveredAt: Date | undefined;
}

/** A page of them. */
export interface DeadMessagePage {
  readonly messages: readonly DeadMessage[];
  readonly nextPageToken: string;
}

/** Names a request that must not be carried out twice. */
export interface RequestName {
  /** Hash of who asks under which id: 32 hexadecimal digits. */
  readonly key: string;
  /** Hash of what is asked for. */
  readonly bodyHash: bigint;
}

/** What is chosen, at most how many, and the entry of the call that asks. */
export interface DeadMessageOrder {
  readonly namespace: string;
  readonly choice: DeadMessageChoice;
  readonly limit: number;
  readonly leaf?: AuditLeaf | undefined;
}

/** Where dead messages live. */
export interface DeadMessageStore {
  /** Lists the latest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(query: {
    readonly namespace: string;
    readonly filter: DeadMessageFilter;
    readonly includeRedelivered: boolean;
    readonly pageSize: number;
    readonly pageToken: string;
  }): Promise<DeadMessagePage>;
  get(namespace: string, id: bigint): Promise<DeadMessage | undefined>;
  /** Puts up to `limit` back into their mailboxes and returns their ids, the oldest first. The same request again returns the same ids.
   *
   * Errors: conflict/REQUEST_ID_REUSED. */
  redeliver(order: DeadMessageOrder, request: RequestName): Promise<readonly bigint[]>;
  /** Deletes up to `limit`. Returns how many. */
  purge(order: DeadMessageOrder): Promise<number>;
}
