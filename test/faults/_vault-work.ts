/** Work for vault while it is killed, and the judgement of what is left by the tables themselves. */
import { fromBinary } from "@bufbuild/protobuf";
import { Frontier, hashLeaf, tryParseCheckpoint } from "@nexus/merkle";
import type { Pool } from "@nexus/postgres";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { createClient, type NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { LIVENESS_MS } from "./_bed.ts";
import type { Verdict } from "./_campaign.ts";

const WORKERS = 4;
const CALL_TIMEOUT_MS = 2000;
/** Answered rounds without which nothing is proved. */
export const ROUNDS_MIN = 10;

/** What was answered, by what the entry must hold. */
export interface Acknowledged {
  readonly created: string[];
  readonly rotated: {
    readonly name: string;
    readonly requestId: string;
    readonly version: number;
  }[];
  readonly encrypted: string[];
}

/** Where to work, and as whom. */
export interface WorkPlace {
  /** `host:port` of vault: a gateway would wait a while before it tries again. */
  readonly address: string;
  readonly accessToken: string;
  /** Begins the names of all that is made, and of nothing else. */
  readonly prefix: string;
  readonly done: Acknowledged;
}

/** Work that goes on until it is ended. */
export interface Work {
  /** Resolves once a round of this work was answered whole. */
  answered(): Promise<void>;
  end(): Promise<void>;
}

/** Creates keys, turns and uses them as fast as it can; notes what was answered. */
export function beginWork({ address, accessToken, prefix, done }: WorkPlace): Work {
  const client = createClient({
    gateway: address,
    credentials: { kind: "token", accessToken },
  });
  const stop = new AbortController();
  const { signal } = stop;
  let rounds = 0;
  const work = Promise.all(
    Array.from({ length: WORKERS }, async (_, worker) => {
      for (let round = 0; !signal.aborted; round++) {
        if (await playRound(client, `${prefix}-${worker}-${round}`, done)) rounds++;
      }
    }),
  );
  return {
    answered: async () => {
      await waitFor(() => rounds > 0, { timeoutMs: LIVENESS_MS, what: "vault to answer" });
    },
    end: async () => {
      stop.abort();
      client.close();
      await work;
    },
  };
}

/** Returns whether all of it was answered. */
async function playRound(
  { keys, transit }: NexusClient,
  name: string,
  done: Acknowledged,
): Promise<boolean> {
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const attempt = <T>(call: Promise<T>): Promise<T | undefined> => call.catch(() => undefined);
  const created = await attempt(keys.createKey({ requestId: `${name}-c`, name }, options));
  if (created === undefined) return false;
  done.created.push(name);
  const requestId = `${name}-r`;
  const rotated = await attempt(keys.rotateKey({ requestId, name }, options));
  const version = rotated?.key?.latestVersion;
  if (version === undefined) return false;
  done.rotated.push({ name, requestId, version });
  const context = { resourceType: "order", resourceId: name, associatedData: new Uint8Array() };
  const request = { keyName: name, plaintext: Buffer.from("x"), context };
  if ((await attempt(transit.encrypt(request, options))) === undefined) return false;
  done.encrypted.push(name);
  return true;
}

/** Waits for the places of all entries, then joins what is stored, what was answered, and the leaves. */
export async function judgeTables(
  tables: Pick<Pool, "query">,
  run: string,
  done: Acknowledged,
): Promise<Verdict> {
  await waitFor(
    async () => (await tables.query("SELECT FROM vault.audit_outbox LIMIT 1")).rowCount === 0,
    { timeoutMs: LIVENESS_MS, what: "every entry to have its place" },
  );
  const leaves = await tables.query<{ index: string; leaf: Buffer }>(
    "SELECT leaf_index AS index, leaf FROM vault.audit_entries ORDER BY leaf_index",
  );
  const stored = await tables.query<StoredKey>(
    `SELECT name, latest_version AS version FROM vault.named_keys WHERE starts_with(name, $1)`,
    [run],
  );
  const newest = await tables.query<{ note: string }>(
    "SELECT note FROM vault.audit_checkpoints ORDER BY tree_size DESC LIMIT 1",
  );
  const entries = leaves.rows.map(({ leaf }) => fromBinary(AuditEntrySchema, leaf));
  const changes = stored.rows.reduce((sum, { version }) => sum + version, 0);
  const counts = {
    entries: entries.length,
    created: done.created.length,
    rotated: done.rotated.length,
    encrypted: done.encrypted.length,
    // Killed between the commit and the answer.
    unanswered: changes - done.created.length - done.rotated.length,
  };
  const problems = [
    ...missingEntries(entries, done),
    ...lostChanges(stored.rows, done),
    ...silentChanges(stored.rows, entries),
    ...otherRoot(leaves.rows, newest.rows[0]?.note ?? ""),
  ];
  return { counts, problems };
}

function allowed(entries: readonly AuditEntry[], method: string): AuditEntry[] {
  return entries.filter(
    ({ action, result }) => action.endsWith(`/${method}`) && result === AuditResult.ALLOWED,
  );
}

/** What was answered and has no entry. */
function missingEntries(entries: readonly AuditEntry[], done: Acknowledged): string[] {
  const created = new Set(allowed(entries, "CreateKey").map(({ resource }) => resource));
  const rotated = new Set(allowed(entries, "RotateKey").map(({ requestId }) => requestId));
  const encrypted = new Set(allowed(entries, "Encrypt").map(({ resource }) => resource));
  return [
    ...done.created.filter((name) => !created.has(name)).map((name) => `no entry: create ${name}`),
    ...done.rotated
      .filter(({ requestId }) => !rotated.has(requestId))
      .map(({ name }) => `no entry: rotate ${name}`),
    ...done.encrypted
      .filter((name) => !encrypted.has(name))
      .map((name) => `no entry: encrypt ${name}`),
  ];
}

interface StoredKey {
  readonly name: string;
  readonly version: number;
}

/** What was answered and is not stored. */
function lostChanges(stored: readonly StoredKey[], done: Acknowledged): string[] {
  const versions = new Map(stored.map(({ name, version }) => [name, version]));
  return [
    ...done.created.filter((name) => !versions.has(name)).map((name) => `lost: key ${name}`),
    ...done.rotated
      .filter(({ name, version }) => (versions.get(name) ?? 0) < version)
      .map(({ name, version }) => `lost: version ${version} of ${name}`),
  ];
}

/** What is stored and has no entry, answered or not. */
function silentChanges(stored: readonly StoredKey[], entries: readonly AuditEntry[]): string[] {
  const created = new Set(allowed(entries, "CreateKey").map(({ resource }) => resource));
  const turns = new Map<string, Set<string>>();
  for (const { resource, requestId } of allowed(entries, "RotateKey")) {
    turns.set(resource, (turns.get(resource) ?? new Set<string>()).add(requestId));
  }
  return stored.flatMap(({ name, version }) => [
    ...(created.has(name) ? [] : [`without an entry: key ${name}`]),
    ...((turns.get(name)?.size ?? 0) === version - 1
      ? []
      : [`without an entry: a version of ${name}`]),
  ]);
}

/** Whether the leaves give the root that was signed. */
function otherRoot(rows: readonly { index: string; leaf: Buffer }[], note: string): string[] {
  const checkpoint = tryParseCheckpoint(note);
  const tree = new Frontier();
  for (const { leaf } of rows) tree.append(hashLeaf(leaf));
  const isContiguous = rows.every(({ index }, place) => Number(index) === place);
  if (!isContiguous) return ["the log has a gap"];
  if (checkpoint?.size !== rows.length) return ["the newest checkpoint has another size"];
  return Buffer.compare(tree.root(), checkpoint.root) === 0 ? [] : ["the log has another root"];
}
