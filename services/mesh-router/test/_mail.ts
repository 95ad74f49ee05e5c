/** Stores of mail without a router around them, and what is put into them. */
import { randomUUID } from "node:crypto";
import { createPool, type Pool } from "@nexus/postgres";
import type { MailInsert } from "../src/domain/mail/mail-ports.ts";
import {
  createMailStore,
  type MailStoreInit,
  type PostgresMailStore,
} from "../src/store/mail-store.ts";
import type { MeshFixture } from "./_router.ts";

/** A batch of nothing but messages. */
export const NO_WORDS = {
  done: [],
  failures: [],
  deaths: [],
  notify: new Set<bigint>(),
  left: new Set<bigint>(),
};

export const newKey = () => randomUUID().replaceAll("-", "");

/** A name that no other test uses. */
export const newName = (word: string) => `${word}-${randomUUID().slice(0, 8)}`;

/** A store over some connections of its own. */
export function openMailStore(
  fixture: MeshFixture,
  connections = 1,
  more: Partial<MailStoreInit> = {},
): { readonly store: PostgresMailStore; readonly pool: Pool } {
  const { url, schema } = fixture.database;
  const pool = createPool({ url, max: connections, applicationName: "mail-store", schema });
  fixture.onClose(() => pool.close());
  const clock = { nowMs: () => Date.now() };
  const init = { pool, clock, routerId: "router", ...more };
  return { store: createMailStore(init), pool };
}

/** Makes a mailbox for each word. */
export async function newMailboxes(
  store: PostgresMailStore,
  ...words: readonly string[]
): Promise<bigint[]> {
  const names = words.map((word) => ({
    ...{ namespace: "default", agentId: newName(word), known: true },
  }));
  return [...(await store.resolve(names)).values()];
}

/** A message with an id of its own. */
export function insertOf(
  mailboxIds: readonly bigint[],
  more: Partial<MailInsert> = {},
): MailInsert {
  return {
    ...{ mailboxIds, sender: "alice", key: newKey(), bodyHash: 1n, envelope: Buffer.alloc(10) },
    ...{ ttlMs: 60_000, ackWaitMs: 1_000, ...more },
  };
}
