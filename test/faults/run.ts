/** The program behind `npm run campaign`: one campaign for as long as you like.
 *
 * `npm run campaign -- set-append --minutes 10 --seed 7`; without a seed it takes one and says which. */
import { parseArgs } from "node:util";
import { openBed } from "./_bed.ts";
import type { Campaign, Verdict } from "./_campaign.ts";
import { CAMPAIGNS } from "./campaigns.ts";

const NAME_WIDTH = 20;
const COUNT_WIDTH = 26;
const MINUTES_DEFAULT = 5;
const MINUTES_MAX = 24 * 60;
const SEED_SPAN = 1_000_000;
const MINUTE_MS = 60_000;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

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
  progress("starting a durable database, three orchestrators and the other services");
  await using bed = await openBed();
  const verdict = await campaign.play(bed, { durationMs: minutes * MINUTE_MS, seed, progress });
  process.stdout.write(render(campaign, verdict));
  return verdict.problems.length === 0 ? 0 : EXIT_FAILED;
}

interface Wanted {
  readonly campaign: Campaign;
  readonly minutes: number;
  readonly seed: number;
}

function readArguments(args: readonly string[]): Wanted | undefined {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch {
    return undefined;
  }
  const { positionals, values } = parsed;
  const campaign = CAMPAIGNS.find(({ name }) => name === positionals[0]);
  const minutes = Number(values.minutes ?? MINUTES_DEFAULT);
  const seed = Number(values.seed ?? Math.floor(Math.random() * SEED_SPAN));
  if (campaign === undefined || positionals.length !== 1) return undefined;
  if (!(minutes > 0 && minutes <= MINUTES_MAX) || !Number.isSafeInteger(seed)) return undefined;
  return { campaign, minutes, seed };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { minutes: { type: "string" }, seed: { type: "string" } },
  });
}

function usage(): string {
  const names = CAMPAIGNS.map(({ name, about }) => `  ${name.padEnd(NAME_WIDTH)}${about}`).join(
    "\n",
  );
  return `Usage: npm run campaign -- NAME [--minutes N] [--seed S]

Plays faults on a stack of its own, on this machine, and judges what the API tells afterwards.
0 every promise held, 1 one did not or too little was done to tell, 2 usage.

${names}
`;
}

function render({ name }: Campaign, { counts, problems }: Verdict): string {
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
