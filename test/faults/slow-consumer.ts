/** A consumer that takes one message a second, and what those beside it feel of it.
 *
 * A fast pair, and another one of another namespace, send at a pace alone and then beside two slow consumers whose queues are full; both in
 * turn, several times. What their messages take is compared by medians in a long run. A short one asks only for what no busy
 * machine can spoil: everything comes, in order, and nobody is told OVERLOADED but those who send to the slow ones. */
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import type { CampaignOptions, MeshCampaign, Verdict } from "./_campaign.ts";
import { fixture, type MeshBed, type MeshWord } from "./_mesh-bed.ts";

const SHORT_MS = 6_000;
const FLOW = fixture("mesh-flow.mjs");
/** All on one replica: there they share what there is to share. */
const REPLICA = "replica-0";
const RATIO_MAX = 1.2;
const KIB = 1_024;
/** Fast messages of one kind, alone and as many beside the slow ones. */
const FAST_MIN = 10_000;
const ROUNDS_MIN = 4;
const LIVENESS_MS = 120_000;
const SLOW_EVERY_MS = 1_000;
/** More than a slow consumer's queue, or a replica's share for it, holds. */
const FILL = { small: 2_500, large: 1_600 };
const TRICKLE_PER_SECOND = 20;
const SETTLE_MS = 500;

/** What is measured. */
interface Kind {
  readonly name: string;
  readonly durable: boolean;
  /** Played in a short run too. */
  readonly isShort: boolean;
  readonly bodyBytes: number;
  readonly perSecond: number;
  /** Fast messages under way at most. */
  readonly window: number;
  /** To fill the slow ones' queues. */
  readonly fill: { readonly count: number; readonly perSecond: number; readonly window: number };
}

const SMALL = {
  bodyBytes: KIB,
  perSecond: 500,
  window: 256,
  fill: { count: FILL.small, perSecond: 5_000, window: FILL.small },
};
const LARGE = {
  bodyBytes: 64 * KIB,
  perSecond: 200,
  window: 24,
  fill: { count: FILL.large, perSecond: 800, window: FILL.large },
};
const KINDS: readonly Kind[] = [
  { name: "ephemeral, 1 KiB", durable: false, isShort: false, ...SMALL },
  { name: "ephemeral, 64 KiB", durable: false, isShort: true, ...LARGE },
  { name: "durable, 1 KiB", durable: true, isShort: true, ...SMALL },
  { name: "durable, 64 KiB", durable: true, isShort: false, ...LARGE },
];

/** The pairs whose time is taken: one beside the slow consumers, and one of another namespace. */
const PAIRS = [
  { name: "fast", ns: "default" },
  { name: "elsewhere", ns: "elsewhere" },
] as const;

/** What a source says of a run. */
interface SourceReport {
  readonly sent: number;
  readonly pending: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}
type SinkReport = Readonly<Record<string, { readonly count: number; readonly misplaced: number }>>;

/** The campaign. */
export const slowConsumer: MeshCampaign = {
  name: "slow-consumer",
  about:
    "two consumers of 1 message/s beside fast pairs: the p99 of these moves by less than a fifth",
  shortMs: SHORT_MS,
  async playOnMesh(bed, options) {
    const played = new SlowConsumer(bed, options);
    try {
      return await played.play();
    } finally {
      await played.end();
    }
  },
};

class SlowConsumer {
  readonly #bed: MeshBed;
  readonly #options: CampaignOptions;
  readonly #words = new Map<string, MeshWord>();
  readonly #problems: string[] = [];
  readonly #counts: Record<string, number> = {
    rounds: 0,
    "fast messages": 0,
    "told OVERLOADED": 0,
  };
  /** By kind and pair: the p99 of each run, alone and beside. */
  readonly #p99Ms = new Map<string, { readonly alone: number[]; readonly beside: number[] }>();
  #run = 0;

  constructor(bed: MeshBed, options: CampaignOptions) {
    this.#bed = bed;
    this.#options = options;
  }

  get #isLong(): boolean {
    return this.#options.durationMs > SHORT_MS;
  }

  async play(): Promise<Verdict> {
    const { durationMs, progress } = this.#options;
    await Promise.all(
      PAIRS.flatMap(({ name, ns }) => [
        this.#start(`${name}-source`, { ns, agentIds: [`${name}-source`] }),
        this.#start(`${name}-sink`, { ns, agentIds: [`${name}-sink`] }),
      ]),
    );
    const endAtMs = performance.now() + durationMs;
    const kinds = KINDS.filter(({ isShort }) => this.#isLong || isShort);
    const rounds = this.#isLong ? ROUNDS_MIN : 1;
    // The first run of a process is no measure.
    for (const kind of kinds.slice(0, 1)) await this.#runPairs(kind);
    for (
      let round = 0;
      round < rounds || (this.#isLong && performance.now() < endAtMs);
      round += 1
    ) {
      for (const kind of kinds) {
        // Who goes first changes: a machine that slows down must not speak for or against.
        if (round % 2 === 0) await this.#measure(kind, "alone");
        await this.#besideSlowOnes(kind);
        if (round % 2 === 1) await this.#measure(kind, "alone");
      }
      this.#counts["rounds"] = round + 1;
      progress(`round ${round + 1}: ${this.#ratios().join("; ")}`);
      if (this.#problems.length > 0) break;
    }
    for (const line of this.#ratios()) progress(line);
    return {
      counts: { ...this.#counts, ...this.#percents() },
      problems: [...this.#problems, ...this.#slowed()],
    };
  }

  async end(): Promise<void> {
    for (const { name } of PAIRS) {
      await this.#bed.kill(`${name}-source`);
      await this.#bed.kill(`${name}-sink`);
    }
    await this.#bed.kill("slow-source");
    await this.#bed.kill("slow-sink");
  }

  async #start(
    name: string,
    init: {
      readonly ns: string;
      readonly agentIds: readonly string[];
      readonly ackEveryMs?: number;
    },
  ): Promise<void> {
    const { ns, agentIds, ackEveryMs = 0 } = init;
    const agents = [];
    for (const agentId of agentIds) {
      const token = await this.#bed.identity.token({ sub: agentId, kind: "agent", ns });
      agents.push({ agentId, token });
    }
    const word = JSON.stringify({ agents, address: this.#bed.addressOf(REPLICA), ackEveryMs });
    const hear = (said: MeshWord): void => void this.#words.set(name, said);
    await this.#bed.start(name, { file: FLOW, env: { NEXUS_TEST_FLOW: word }, hear });
  }

  /** One kind beside slow consumers of its own, whose queues are full. */
  async #besideSlowOnes(kind: Kind): Promise<void> {
    const run = `slow-${this.#nextRun()}`;
    const to = [`${run}-a`, `${run}-b`];
    await Promise.all([
      this.#start("slow-sink", { ns: "default", agentIds: to, ackEveryMs: SLOW_EVERY_MS }),
      this.#start("slow-source", { ns: "default", agentIds: [run] }),
    ]);
    const flow = { run, to, bodyBytes: kind.bodyBytes, durable: kind.durable };
    this.#bed.say("slow-source", { begin: { ...flow, ...kind.fill } });
    const filled = await this.#untilFull(kind.fill.count);
    const slowly = { count: FAST_MIN, perSecond: TRICKLE_PER_SECOND, window: FAST_MIN };
    const trickle = { ...flow, ...slowly, run: `${run}-on` };
    this.#bed.say("slow-source", { begin: trickle });
    await this.#measure(kind, "beside");
    this.#judgeSlow(kind, filled);
    for (const name of ["slow-source", "slow-sink"]) this.#bed.say(name, { leave: true });
    await sleep(SETTLE_MS);
    for (const name of ["slow-source", "slow-sink"]) await this.#bed.kill(name);
  }

  /** What fills the queues is over once nobody is told anything more about it: it must not be measured. */
  async #untilFull(count: number): Promise<SourceReport> {
    let told = -1;
    const isFull = async () => {
      const report = await this.#askSource("slow");
      const { OVERLOADED: overloaded = 0, QUEUED: queued = 0 } = report.outcomes;
      const before = told;
      told = overloaded + queued;
      if (report.sent === count && told === before && told > 0) return report;
      await sleep(SETTLE_MS);
      return undefined;
    };
    return waitFor(isFull, { what: "the slow ones to be full", timeoutMs: LIVENESS_MS });
  }

  /** Those who send to a slow one are told so, or what they sent waits; it goes nowhere else. */
  #judgeSlow({ name }: Kind, { sent, pending, outcomes }: SourceReport): void {
    const { OVERLOADED: overloaded = 0, QUEUED: queued = 0, DELIVERED: delivered = 0 } = outcomes;
    this.#count("told OVERLOADED", overloaded);
    if (overloaded + pending + queued === 0) {
      this.#problems.push(`${name}: nothing waited for the slow ones`);
    }
    if (overloaded + queued + delivered + pending !== sent) {
      this.#problems.push(`${name}: to the slow ones ${JSON.stringify(outcomes)}`);
    }
  }

  async #measure(kind: Kind, where: "alone" | "beside"): Promise<void> {
    for (const { pair, report } of await this.#runPairs(kind)) {
      const key = `${kind.name}, ${pair}`;
      const known = this.#p99Ms.get(key) ?? { alone: [], beside: [] };
      this.#p99Ms.set(key, known);
      known[where].push(report.p99Ms);
      if (pair === "fast" && where === "beside") this.#count("fast messages", report.sent);
    }
  }

  /** Both pairs send so many; everything must come, in order, as it was promised. */
  async #runPairs(kind: Kind): Promise<{ readonly pair: string; readonly report: SourceReport }[]> {
    const run = `run-${this.#nextRun()}`;
    const count = this.#isLong ? Math.ceil(FAST_MIN / ROUNDS_MIN) : kind.perSecond;
    for (const { name } of PAIRS) {
      const { bodyBytes, durable, perSecond, window } = kind;
      const to = [`${name}-sink`];
      const begin = { run, to, count, perSecond, window, bodyBytes, durable };
      this.#bed.say(`${name}-source`, { begin });
    }
    const reports = [];
    for (const { name: pair } of PAIRS) {
      const report = await waitFor(
        async () => {
          const said = await this.#askSource(pair);
          return said.sent === count && said.pending === 0 ? said : undefined;
        },
        { what: `${kind.name}: the outcomes of ${pair}`, timeoutMs: LIVENESS_MS },
      );
      reports.push({ pair, report });
      const good = report.outcomes[kind.durable ? "QUEUED" : "DELIVERED"] ?? 0;
      if (good !== count) {
        this.#problems.push(`${kind.name}: ${pair} was told ${JSON.stringify(report.outcomes)}`);
        continue;
      }
      const taken = await waitFor(
        async () => {
          const seen = (await this.#askSink(pair))[run];
          return seen !== undefined && seen.count >= count ? seen : undefined;
        },
        { what: `${kind.name}: the messages of ${pair}`, timeoutMs: LIVENESS_MS },
      );
      if (taken.count === count && taken.misplaced === 0) continue;
      this.#problems.push(`${kind.name}: of ${pair} came ${JSON.stringify(taken)}`);
    }
    return reports;
  }

  async #askSource(name: string): Promise<SourceReport> {
    return (await this.#ask(`${name}-source`, "source"))["source"] as SourceReport;
  }

  async #askSink(name: string): Promise<SinkReport> {
    return (await this.#ask(`${name}-sink`, "sink"))["sink"] as SinkReport;
  }

  async #ask(process: string, ask: string): Promise<MeshWord> {
    this.#words.delete(process);
    this.#bed.say(process, { ask });
    const what = `${process} to answer`;
    return waitFor(() => this.#words.get(process), { what, timeoutMs: LIVENESS_MS });
  }

  #ratioOf(key: string): number {
    const { alone, beside } = this.#p99Ms.get(key) ?? { alone: [], beside: [] };
    return median(beside) / median(alone);
  }

  #ratios(): string[] {
    return [...this.#p99Ms].map(([key, { alone, beside }]) => {
      const times = `p99 ${median(alone).toFixed(1)} ms alone, ${median(beside).toFixed(1)} beside`;
      return `${key}: ${times}, ratio ${this.#ratioOf(key).toFixed(2)}`;
    });
  }

  #percents(): Record<string, number> {
    const keys = [...this.#p99Ms.keys()];
    return Object.fromEntries(
      keys.map((key) => [`p99 in %: ${key}`, Math.round(this.#ratioOf(key) * 100)]),
    );
  }

  #slowed(): string[] {
    if (!this.#isLong || this.#problems.length > 0) return [];
    const keys = [...this.#p99Ms.keys()].filter((key) => !(this.#ratioOf(key) < RATIO_MAX));
    const sent = this.#counts["fast messages"] ?? 0;
    return [
      ...keys.map((key) => `${key}: the p99 moves by ${this.#ratioOf(key).toFixed(2)}`),
      ...(sent < FAST_MIN * KINDS.length ? [`only ${sent} fast messages`] : []),
    ];
  }

  #count(what: string, by: number): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + by;
  }

  #nextRun(): number {
    this.#run += 1;
    return this.#run;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}
