/** Vault killed in the middle of its work, again and again: nothing acknowledged is lost, and nothing is without its entry. */
import { join } from "node:path";
import { tryParseCheckpoint } from "@nexus/merkle";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { command, ROOT } from "../e2e/_command.ts";
import { type Bed, LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type Campaign, type CampaignOptions } from "./_campaign.ts";
import { createRandom } from "./_random.ts";
import { type Acknowledged, beginWork, judgeTables, ROUNDS_MIN } from "./_vault-work.ts";

const CLI = join(ROOT, "apps/cli/bin/nexus.js");
/** Between a start and the next kill: from "nothing was done yet" to "in the middle of it". */
const LIFE_MAX_MS = 400;

/** The campaign. */
export const auditKill: Campaign = {
  name: "audit-kill",
  about:
    "SIGKILL of vault during changes; none acknowledged is lost, none is without its audit entry",
  shortMs: 4_000,
  async play(bed, options) {
    const run = `audit-kill-${options.seed}-${Date.now()}`;
    const done: Acknowledged = { created: [], rotated: [], encrypted: [] };
    const kills = await killAgainAndAgain(bed, { ...options, run, done });
    const { counts, problems } = await judgeTables(bed.tables, run, done);
    const minimums = { kills: 2, created: ROUNDS_MIN, rotated: ROUNDS_MIN, encrypted: ROUNDS_MIN };
    const all = { kills, ...counts };
    return {
      counts: all,
      problems: [...belowMinimum(all, minimums), ...(await unproved(bed.fleet)), ...problems],
    };
  },
};

interface Playing extends CampaignOptions {
  readonly run: string;
  readonly done: Acknowledged;
}

async function killAgainAndAgain(bed: Bed, options: Playing): Promise<number> {
  const { run, done } = options;
  const random = createRandom(options.seed);
  const { admin, stack } = bed.fleet;
  const address = stack.info.services["vault"]?.grpc ?? "";
  const endAtMs = performance.now() + options.durationMs;
  let kills = 0;
  // Each life ends with at least one more of everything, so a slow machine only takes longer.
  while (performance.now() < endAtMs || done.encrypted.length < ROUNDS_MIN) {
    const accessToken = (await admin.credentials?.accessToken())?.value ?? "";
    const work = beginWork({ address, accessToken, prefix: `${run}-${kills}`, done });
    await work.answered();
    await sleep(random.between(0, LIFE_MAX_MS));
    await stack.processes.kill("vault");
    kills++;
    await work.end();
    await stack.processes.waitReady("vault");
    if (kills % 25 === 0) options.progress(`${kills} kills`);
  }
  return kills;
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
