/** Services killed between their changes and vault's taking of the entries, and vault as well: every change has its entry in the log,
 * and every entry is there once. */
import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import type { NexusClient } from "@nexus/sdk";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { type Bed, LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type Campaign, type CampaignOptions, type Verdict } from "./_campaign.ts";
import { createRandom } from "./_random.ts";

/** In turn: two that have outboxes, and the one that takes from them. */
const VICTIMS = ["registry", "vault", "orchestrator"] as const;
const WORKERS = 3;
/** Between a start and the next kill: shorter and longer than a courier's pause. */
const LIFE_MAX_MS = 500;
const CALL_TIMEOUT_MS = 3000;
/** Answered changes of each kind without which nothing is proved. */
const CHANGES_MIN = 10;

/** Request ids of what was answered. */
interface Answered {
  readonly registered: Set<string>;
  readonly submitted: Set<string>;
}

/** The campaign. */
export const auditOutboxKill: Campaign = {
  name: "audit-outbox-kill",
  about:
    "SIGKILL of registry, orchestrator and vault during changes; each change is in the audit log, each entry once",
  shortMs: 8_000,
  async play(bed, options) {
    const run = `audit-outbox-${options.seed}-${Date.now()}`;
    const answered: Answered = { registered: new Set(), submitted: new Set() };
    const stop = new AbortController();
    const work = Promise.all(
      Array.from({ length: WORKERS }, (_, worker) =>
        workOn(bed.fleet.admin, `${run}-${worker}`, { answered, signal: stop.signal }),
      ),
    );
    const kills = await killInTurn(bed, options, answered);
    stop.abort();
    await work;
    return judge(bed, { run, answered, kills });
  },
};

async function killInTurn(
  bed: Bed,
  options: CampaignOptions,
  { registered, submitted }: Answered,
): Promise<number> {
  const random = createRandom(options.seed);
  const { processes } = bed.fleet.stack;
  const endAtMs = performance.now() + options.durationMs;
  const isEnough = () =>
    performance.now() >= endAtMs && registered.size >= CHANGES_MIN && submitted.size >= CHANGES_MIN;
  let kills = 0;
  while (kills < VICTIMS.length || !isEnough()) {
    const before = [registered.size, submitted.size] as const;
    await waitFor(() => registered.size > before[0] && submitted.size > before[1], {
      timeoutMs: LIVENESS_MS,
      what: "changes to be answered",
    });
    await sleep(random.between(0, LIFE_MAX_MS));
    const victim = VICTIMS[kills % VICTIMS.length] as (typeof VICTIMS)[number];
    await processes.kill(victim);
    await processes.waitReady(victim);
    kills++;
    if (kills % 25 === 0) options.progress(`${kills} kills`);
  }
  return kills;
}

/** Registers agents and submits jobs as fast as it can; notes what was answered. */
async function workOn(
  { registry, jobs }: NexusClient,
  prefix: string,
  { answered, signal }: { readonly answered: Answered; readonly signal: AbortSignal },
): Promise<void> {
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const attempt = (call: Promise<unknown>): Promise<boolean> =>
    call.then(
      () => true,
      () => false,
    );
  for (let round = 0; !signal.aborted; round++) {
    const requestId = `${prefix}-${round}`.slice(0, 64);
    const capabilities = [{ name: "never-called", version: "1.0.0" }];
    const agent = { requestId, agentId: requestId, capabilities };
    if (await attempt(registry.registerAgent(agent, options))) answered.registered.add(requestId);
    const tasks = [{ key: "only", capability: "never-there" }];
    const job = { requestId, tasks };
    if (await attempt(jobs.submitJob(job, options))) answered.submitted.add(requestId);
  }
}

interface Played {
  readonly run: string;
  readonly answered: Answered;
  readonly kills: number;
}

async function judge({ tables }: Bed, { run, answered, kills }: Played): Promise<Verdict> {
  await waitFor(
    async () => {
      const { rows } = await tables.query<{ waiting: number }>(`
        SELECT ((SELECT count(*) FROM registry.audit_outbox) + (SELECT count(*) FROM orchestrator.audit_outbox)
          + (SELECT count(*) FROM vault.audit_outbox))::int AS waiting`);
      return rows[0]?.waiting === 0;
    },
    { timeoutMs: LIVENESS_MS, what: "every entry to have its place" },
  );
  const leaves = await tables.query<{ leaf: Buffer }>(
    "SELECT leaf FROM vault.audit_entries WHERE service IN ('registry', 'orchestrator')",
  );
  const agents = await tables.query<{ id: string }>(
    "SELECT agent_id AS id FROM registry.agents WHERE starts_with(agent_id, $1)",
    [run],
  );
  const jobs = await tables.query<{ id: string }>(
    "SELECT request_id AS id FROM orchestrator.requests WHERE starts_with(request_id, $1)",
    [run],
  );
  const entries = leaves.rows.map(({ leaf }) => fromBinary(AuditEntrySchema, leaf));
  const problems = [
    ...twice(entries),
    ...without("RegisterAgent", entries, [
      ...answered.registered,
      ...agents.rows.map(({ id }) => id),
    ]),
    ...without("SubmitJob", entries, [...answered.submitted, ...jobs.rows.map(({ id }) => id)]),
  ];
  const counts = {
    kills,
    entries: entries.length,
    registered: answered.registered.size,
    submitted: answered.submitted.size,
  };
  const minimums = {
    kills: VICTIMS.length,
    registered: CHANGES_MIN,
    submitted: CHANGES_MIN,
  };
  return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
}

/** Entries that were taken more than once. A call that failed although its change was stored has two that share an id. */
function twice(entries: readonly AuditEntry[]): string[] {
  const seen = new Set<string>();
  return entries
    .map(({ entryId, action, result }) => `${action} ${entryId} ${AuditResult[result]}`)
    .filter((entry) => seen.size === seen.add(entry).size)
    .map((entry) => `twice: ${entry}`);
}

/** Requests whose change was answered, or is stored, and has no entry with its caller. */
function without(
  method: string,
  entries: readonly AuditEntry[],
  requestIds: readonly string[],
): string[] {
  const entered = new Set(
    entries
      .filter(({ action, result, actor }) =>
        [action.endsWith(`/${method}`), result === AuditResult.ALLOWED, actor === "admin"].every(
          Boolean,
        ),
      )
      .map(({ requestId }) => requestId),
  );
  return [...new Set(requestIds)]
    .filter((requestId) => !entered.has(requestId))
    .map((requestId) => `no entry: ${method} ${requestId}`);
}
