/** The database killed every five seconds, as a power cut would, while jobs are appended. */
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { LIVENESS_MS } from "./_bed.ts";
import type { Campaign, CampaignOptions } from "./_campaign.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const KILL_EVERY_MS = 5_000;
/** Fewest kills, however slow the machine: one in so long. */
const KILL_AT_LEAST_EVERY_MS = 10_000;
/** Jobs that must complete after a kill before the next one. */
const COMPLETED_AFTER_KILL = 10;
/** Kills in a row; then calm for as long as it takes to compare with the calm before the first. */
const KILLS_IN_A_ROW = 5;
/** A rate counts from here after a recovery on, and for so long. */
const CALM = { settleMs: 5_000, windowMs: 10_000 };
/** What a rate of so few jobs is worth shows nothing: it is reported only. */
const SHORT_CALM = { settleMs: 0, windowMs: 1_500 };
const LONG_MS = 60_000;
/** How much of the rate before must be back, at half of the looks: the machine itself may be twice as slow by then. */
const BACK_AT_LEAST = 0.5;

/** The campaign. */
export const postgresKill: Campaign = {
  name: "postgres-kill",
  about: "SIGKILL of Postgres every 5 s; nothing acknowledged is lost, and the rate comes back",
  shortMs: 10_000,
  play: async (bed, options) => {
    const rates: Rates = { before: 0, after: [] };
    const { counts, problems } = await playUnderAppends(bed, options, {
      during: (under) => new Killer(under, options, rates).play(),
      minimums: { kills: fewestKills(options) },
    });
    const after = rates.after.sort((a, b) => a - b)[Math.floor(rates.after.length / 2)] ?? 0;
    const slow =
      options.durationMs >= LONG_MS && after < BACK_AT_LEAST * rates.before
        ? [`${rates.before} jobs a second completed before the kills, and ${after} after`]
        : [];
    const figures = { "completed/s before": rates.before, "completed/s after": after };
    return { counts: { ...counts, ...figures }, problems: [...problems, ...slow] };
  },
};

/** Completed jobs a second: before the first kill, and at each look between kills. */
interface Rates {
  before: number;
  readonly after: number[];
}

/** Owns the kills of one run. */
class Killer {
  readonly #under: UnderAppends;
  readonly #options: CampaignOptions;
  readonly #rates: Rates;
  #kills = 0;
  #slowestMs = 0;

  constructor(under: UnderAppends, options: CampaignOptions, rates: Rates) {
    this.#under = under;
    this.#options = options;
    this.#rates = rates;
  }

  /** Every recovery is waited for, however long it takes: that it came is the test. */
  async play(): Promise<Record<string, number>> {
    const { durationMs } = this.#options;
    const calm = durationMs >= LONG_MS ? CALM : SHORT_CALM;
    const lastKillAtMs = performance.now() + durationMs - calm.settleMs - calm.windowMs;
    this.#rates.before = await this.#rateOf({ ...calm, settleMs: 0 });
    do {
      const killedAtMs = performance.now();
      await this.#kill(killedAtMs);
      if (this.#kills % KILLS_IN_A_ROW === 0) this.#rates.after.push(await this.#rateOf(calm));
      else await untilMoment(Math.min(killedAtMs + KILL_EVERY_MS, lastKillAtMs));
    } while (performance.now() < lastKillAtMs || this.#kills < fewestKills(this.#options));
    if (this.#rates.after.length === 0) this.#rates.after.push(await this.#rateOf(calm));
    return { kills: this.#kills, "slowest recovery, ms": this.#slowestMs };
  }

  async #kill(killedAtMs: number): Promise<void> {
    const { bed, load } = this.#under;
    this.#kills += 1;
    await bed.fleet.stack.processes.kill("postgres");
    const answers = load.answers;
    await waitFor(() => load.answers > answers, {
      timeoutMs: LIVENESS_MS,
      what: "an acknowledged job after the database was killed",
    });
    const tookMs = Math.round(performance.now() - killedAtMs);
    this.#slowestMs = Math.max(this.#slowestMs, tookMs);
    this.#options.progress(`kill ${this.#kills}: acknowledged again after ${tookMs} ms`);
    const isWorking = async () =>
      (await load.countCompletedSince(bed, killedAtMs)) >= COMPLETED_AFTER_KILL;
    await waitFor(isWorking, {
      timeoutMs: LIVENESS_MS,
      what: "jobs to complete after the database was killed",
    });
  }

  async #rateOf({ settleMs, windowMs }: typeof CALM): Promise<number> {
    await sleep(settleMs);
    const fromMs = performance.now();
    await sleep(windowMs);
    const { bed, load } = this.#under;
    const tookMs = performance.now() - fromMs;
    const completed = await load.countCompletedSince(bed, fromMs);
    const rate = Math.round((completed / tookMs) * 1_000);
    this.#options.progress(`${rate} jobs a second complete`);
    return rate;
  }
}

function untilMoment(atMs: number): Promise<void> {
  return sleep(Math.max(0, atMs - performance.now()));
}

function fewestKills({ durationMs }: CampaignOptions): number {
  return Math.floor(durationMs / KILL_AT_LEAST_EVERY_MS);
}
