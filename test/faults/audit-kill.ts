/** Vault killed in the middle of its work, again and again: nothing acknowledged is lost, and nothing is without its entry. */
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { Frontier, hashLeaf, tryParseCheckpoint } from "@nexus/merkle";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { createClient, type NexusClient } from "@nexus/sdk";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { command, ROOT } from "../e2e/_command.ts";
import { type Bed, LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type Campaign, type CampaignOptions, type Verdict } from "./_campaign.ts";
import { createRandom } from "./_random.ts";

const CLI = join(ROOT, "apps/cli/bin/nexus.js");
const WORKERS = 4;
/** Between a start and the next kill: from "nothing was done yet" to "in the middle of it". */
const LIFE_MAX_MS = 400;
const CALL_TIMEOUT_MS = 2000;
/** Answered rounds without which nothing is proved. */
const ROUNDS_MIN = 10;

/** What was answered, by what the entry must hold. */
interface Acknowledged {
  readonly created: string[];
  readonly rotated: {
    readonly name: string;
    readonly requestId: string;
    readonly version: number;
  }[];
  readonly encrypted: string[];
}

/** The campaign. */
export const auditKill: Campaign = {
  name: "audit-kill",
  about:
    "SIGKILL of vault during changes; none acknowledged is lost, none is without its audit entry",
  shortMs: 8_000,
  async play(bed, options) {
    const run = `audit-kill-${options.seed}-${Date.now()}`;
    const done: Acknowledged = { created: [], rotated: [], encrypted: [] };
    const kills = await killAgainAndAgain(bed, { ...options, run, done });
    return judge(bed, { run, done, kills });
  },
};

interface Playing extends CampaignOptions {
  readonly run: string;
  readonly done: Acknowledged;
}

async function killAgainAndAgain(bed: Bed, options: Playing): Promise<number> {
  const random = createRandom(options.seed);
  const { processes } = bed.fleet.stack;
  const endAtMs = performance.now() + options.durationMs;
  let kills = 0;
  // Each life ends with at least one more of everything, so a slow machine only takes longer.
  while (performance.now() < endAtMs || options.done.encrypted.length < ROUNDS_MIN) {
    const life = await beginLife(bed, options, kills);
    const before = options.done.encrypted.length;
    await waitFor(() => options.done.encrypted.length > before, {
      timeoutMs: LIVENESS_MS,
      what: "vault to answer",
    });
    await sleep(random.between(0, LIFE_MAX_MS));
    await processes.kill("vault");
    kills++;
    await life.end();
    await processes.waitReady("vault");
    if (kills % 25 === 0) options.progress(`${kills} kills`);
  }
  return kills;
}

/** Work for one life of vault, straight at its port: a gateway would wait a while before it tries again. */
async function beginLife(bed: Bed, { run, done }: Playing, number: number) {
  const { admin, stack } = bed.fleet;
  const accessToken = (await admin.credentials?.accessToken())?.value ?? "";
  const gateway = stack.info.services["vault"]?.grpc ?? "";
  const client = createClient({ gateway, credentials: { kind: "token", accessToken } });
  const stop = new AbortController();
  const work = Promise.all(
    Array.from({ length: WORKERS }, (_, worker) =>
      workOn(client, `${run}-${number}-${worker}`, { done, signal: stop.signal }),
    ),
  );
  return {
    async end() {
      stop.abort();
      client.close();
      await work;
    },
  };
}

/** Creates keys, turns and uses them as fast as it can; notes what was answered. */
async function workOn(
  { keys, transit }: NexusClient,
  prefix: string,
  { done, signal }: { readonly done: Acknowledged; readonly signal: AbortSignal },
): Promise<void> {
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const attempt = <T>(call: Promise<T>): Promise<T | undefined> => call.catch(() => undefined);
  for (let round = 0; !signal.aborted; round++) {
    const name = `${prefix}-${round}`;
    const created = await attempt(keys.createKey({ requestId: `${name}-c`, name }, options));
    if (created === undefined) continue;
    done.created.push(name);
    const requestId = `${name}-r`;
    const rotated = await attempt(keys.rotateKey({ requestId, name }, options));
    const version = rotated?.key?.latestVersion;
    if (version === undefined) continue;
    done.rotated.push({ name, requestId, version });
    const context = { resourceType: "order", resourceId: name, associatedData: new Uint8Array() };
    const request = { keyName: name, plaintext: Buffer.from("x"), context };
    if ((await attempt(transit.encrypt(request, options))) !== undefined) done.encrypted.push(name);
  }
}

interface Played {
  readonly run: string;
  readonly done: Acknowledged;
  readonly kills: number;
}

async function judge({ fleet, tables }: Bed, { run, done, kills }: Played): Promise<Verdict> {
  await waitFor(
    async () => (await tables.query("SELECT FROM vault.audit_outbox LIMIT 1")).rowCount === 0,
    { timeoutMs: LIVENESS_MS, what: "every entry to have its place" },
  );
  const leaves = await tables.query<{ index: string; leaf: Buffer }>(
    "SELECT leaf_index AS index, leaf FROM vault.audit_entries ORDER BY leaf_index",
  );
  const stored = await tables.query<{ name: string; version: number }>(
    `SELECT name, latest_version AS version FROM vault.named_keys WHERE starts_with(name, $1)`,
    [run],
  );
  const newest = await tables.query<{ note: string }>(
    "SELECT note FROM vault.audit_checkpoints ORDER BY tree_size DESC LIMIT 1",
  );
  const entries = leaves.rows.map(({ leaf }) => fromBinary(AuditEntrySchema, leaf));
  const problems = [
    ...(await unproved(fleet)),
    ...missingEntries(entries, done),
    ...lostChanges(stored.rows, done),
    ...silentChanges(stored.rows, entries),
    ...otherRoot(leaves.rows, newest.rows[0]?.note ?? ""),
  ];
  const counts = {
    kills,
    entries: entries.length,
    created: done.created.length,
    rotated: done.rotated.length,
    encrypted: done.encrypted.length,
  };
  const minimums = {
    kills: 2,
    created: ROUNDS_MIN,
    rotated: ROUNDS_MIN,
    encrypted: ROUNDS_MIN,
  };
  return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
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

/** What an auditor finds from outside, by the command and the witness. */
async function unproved({ admin, stack }: Bed["fleet"]): Promise<string[]> {
  // The gateway waits a while before it tries the killed one's port again.
  const newest = await waitFor(() => admin.audit.getCheckpoint({}).catch(() => undefined), {
    timeoutMs: LIVENESS_MS,
    what: "the gateway to reach vault",
  });
  const size = BigInt(tryParseCheckpoint(newest.checkpoint)?.size ?? 0);
  await waitFor(
    async () => {
      const { checkpoints } = await admin.witness.listWitnessedCheckpoints({});
      return checkpoints.some(({ treeSize }) => treeSize >= size);
    },
    { timeoutMs: LIVENESS_MS, what: "the witness to have seen the log" },
  );
  const env = {
    NEXUS_TOKEN: (await admin.credentials?.accessToken())?.value ?? "",
    NEXUS_GATEWAY: stack.info.gateway,
  };
  const { code, stdout } = await command(process.execPath, [CLI, "audit", "verify"], { env });
  return code === 0 && stdout.startsWith("ok:") ? [] : [`nexus audit verify: ${stdout}`];
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
