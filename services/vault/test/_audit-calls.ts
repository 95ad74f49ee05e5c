/** What tests of a log that cannot be written share: every way to get something out of vault or to change it. */
import type { Pool } from "@nexus/postgres";
import { expect } from "vitest";
import { login, outcome, type Replica, requestId, type Session } from "./_helpers.ts";
import { CONTEXT } from "./_transit.ts";

/** An entry has 2 s, and the client tries what changes nothing four times. Below the 30 s that a call has without a deadline. */
export const ANSWER_MAX_MS = 25_000;

/** Who calls what with which key. */
export interface AuditedCalls {
  readonly vault: Replica;
  readonly admin: Session;
  readonly keyName: string;
  readonly ciphertext: string;
}

/** Calls that read nothing from the database before they write their entry. */
export const KEY_USES = ["decrypt", "decryptBatch", "encrypt", "generateDataKey", "decryptStream"];

export function callsOf(what: AuditedCalls): Record<string, () => Promise<unknown>> {
  const { vault, admin, keyName, ciphertext } = what;
  const { transit, keys, auth, principals } = vault;
  const context = CONTEXT;
  const items = [{ ciphertext, context }];
  return {
    decrypt: () => transit.decrypt({ keyName, ciphertext, context }, admin),
    decryptBatch: () => transit.decryptBatch({ keyName, items }, admin),
    decryptStream: () => firstAnswer(what),
    encrypt: () => transit.encrypt({ keyName, plaintext: Buffer.from("x"), context }, admin),
    generateDataKey: () => transit.generateDataKey({ keyName, context }, admin),
    createKey: () => keys.createKey({ requestId: requestId(), name: "never" }, admin),
    rotateKey: () => keys.rotateKey({ requestId: requestId(), name: keyName }, admin),
    login: () => login(vault),
    refresh: () => auth.refreshToken({ refreshToken: admin.refreshToken }),
    createPrincipal: () =>
      principals.createPrincipal({ requestId: requestId(), principalId: "never", kind: 2 }, admin),
    refused: () => keys.rotateKey({ requestId: requestId(), name: "no-such-key" }, admin),
  };
}

async function firstAnswer({ vault, admin, keyName }: AuditedCalls): Promise<unknown> {
  async function* requests() {
    yield {
      frame: { case: "start", value: { keyName, keyVersion: 1, context: CONTEXT } },
    } as const;
    yield { frame: { case: "chunk", value: Buffer.alloc(100_000) } } as const;
  }
  async function* encryptRequests() {
    yield { frame: { case: "start", value: { keyName, context: CONTEXT } } } as const;
  }
  for await (const answer of vault.transit.encryptStream(encryptRequests(), admin)) return answer;
  for await (const answer of vault.transit.decryptStream(requests(), admin)) return answer;
  return undefined;
}

/** How each call ends, and whether in time. */
export async function outcomesOf(
  calls: Record<string, () => Promise<unknown>>,
): Promise<Record<string, string>> {
  const results = Object.entries(calls).map(async ([name, call]) => {
    const startedAt = performance.now();
    const result = await outcome(call());
    const inTime = performance.now() - startedAt < ANSWER_MAX_MS;
    return [name, inTime ? result : `${result}, late`] as const;
  });
  return Object.fromEntries(await Promise.all(results));
}

export const unavailable = () =>
  expect.stringMatching(/^unavailable\/(AUDIT|DATABASE)_UNAVAILABLE$/);

/** Everything that the calls would change, as counts. */
export async function storedChanges(pool: Pool): Promise<unknown> {
  const { rows } = await pool.query(
    `SELECT (SELECT sum(latest_version) FROM named_keys) AS versions,
       (SELECT count(*) FROM principals) AS principals, (SELECT count(*) FROM token_families) AS families,
       (SELECT count(*) FROM spent_refresh_tokens) AS spent,
       (SELECT count(*) FROM audit_entries) + (SELECT count(*) FROM audit_outbox) AS entries`,
  );
  return rows[0];
}
