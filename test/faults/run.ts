/** The program behind `npm run campaign`: one campaign for as long as you like.
 *
 * `npm run campaign -- set-append --minutes 10 --seed 7`; without a seed it takes one and says which. `vault-kill` also takes
 * `--kills 1000`, at which it ends before its time. */
import { parseArgs } from "node:util";
import { openBed } from "./_bed.ts";
import type { Campaign, LoneCampaign, MeshCampaign, Verdict } from "./_campaign.ts";
import { MeshBed } from "./_mesh-bed.ts";
import { CAMPAIGNS, LONE_CAMPAIGNS, MESH_CAMPAIGNS } from "./campaigns.ts";

const NAME_WIDTH = 20;
const COUNT_WIDTH = 28;
const MINUTES_DEFAULT = 5;
const MINUTES_MAX = 24 * 60;
const SEED_SPAN = 1_000_000;
const MINUTE_MS = 60_000;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

type AnyCampaign = Campaign | LoneCampaign | MeshCampaign;

const ALL: readonly AnyCampaign[] = [...CAMPAIGNS, ...LONE_CAMPAIGNS, ...MESH_CAMPAIGNS];

const startedAtMs = performance.now();
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const wanted = readArguments(args);
  if (wanted === undefined) {
    process.stderr.write(usage());
    return EXIT_USAGE;
  }
  const { campaign, minutes, seed } = wanted;
  progress(`${campaign.name}, ${minutes} minutes, --seed ${seed}`);
  const verdict = await play(wanted);
  process.stdout.write(render(campaign, verdict));
  return verdict.problems.length === 0 ? 0 : EXIT_FAILED;
}

async function play({ campaign, minutes, seed, killsMax }: Wanted): Promise<Verdict> {
  const limits = killsMax === undefined ? {} : { killsMax };
  const options = { durationMs: minutes * MINUTE_MS, seed, progress, ...limits };
  if ("playAlone" in campaign) return campaign.playAlone(options);
  if ("playOnMesh" in campaign) {
    progress("starting a durable database, a Redis and three mesh-routers");
    await using mesh = await MeshBed.open({ isTimed: true });
    return await campaign.playOnMesh(mesh, options);
  }
  progress("starting a durable database, three orchestrators and the other services");
  await using bed = await openBed();
  return await campaign.play(bed, options);
}

interface Wanted {
  readonly campaign: AnyCampaign;
  readonly minutes: number;
  readonly seed: number;
  readonly killsMax: number | undefined;
}

function readArguments(args: readonly string[]): Wanted | undefined {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch {
    return undefined;
  }
  const { positionals, values } = parsed;
  const killsMax = values.kills === undefined ? undefined : Number(values.kills);
  const campaign = ALL.find(({ name }) => name === positionals[0]);
  const minutes = Number(values.minutes ?? MINUTES_DEFAULT);
  const seed = Number(values.seed ?? Math.floor(Math.random() * SEED_SPAN));
  if (campaign === undefined || positionals.length !== 1) return undefined;
  if (!(minutes > 0 && minutes <= MINUTES_MAX) || !Number.isSafeInteger(seed)) return undefined;
  const isCount = killsMax === undefined || (Number.isSafeInteger(killsMax) && killsMax > 0);
  return isCount ? { campaign, minutes, seed, killsMax } : undefined;
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { minutes: { type: "string" }, seed: { type: "string" }, kills: { type: "string" } },
  });
}

function usage(): string {
  const names = ALL.map(({ name, about }) => `  ${name.padEnd(NAME_WIDTH)}${about}`).join("\n");
  return `Usage: npm run campaign -- NAME [--minutes N] [--seed S] [--kills K]

Plays faults on a stack of its own, on this machine, and judges what the API tells afterwards.
0 every promise held, 1 one did not or too little was done to tell, 2 usage.

${names}
`;
}

function render({ name }: Pick<Campaign, "name">, { counts, problems }: Verdict): string {
  const figures = Object.entries(counts).map(
    ([what, count]) => `  ${what.padEnd(COUNT_WIDTH)}${count}`,
  );
  const verdict = problems.length === 0 ? "every promise held" : "BROKEN";
  const lines = [`${name}: ${verdict}`, ...figures, ...problems.map((problem) => `  ! ${problem}`)];
  return `${lines.join("\n")}\n`;
}

function progress(text: string): void {
  const sinceStart = ((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(7);
  process.stderr.write(`${sinceStart} s  ${text}\n`);
}
