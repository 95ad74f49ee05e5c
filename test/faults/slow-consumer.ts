/** Two consumers that take one message a second each, and what those beside them feel of it.
 *
 * A fast pair, and another one of another namespace, send at a pace, alone and beside two slow consumers whose queues are full and to whom
 * somebody goes on sending. A long run compares the 99th percentiles of all that was sent alone and of all that was sent beside, in rounds
 * of stretches in the order alone, beside, beside, alone, so that a machine that changes speaks for neither side. Beside the ratio it says
 * how far halves of what was sent alone are apart.
 *
 * Only the slow consumers and who sends to them differ: their processes are there on both sides, and hold no sessions alone. Their
 * queues are filled before, and what the database puts off of that, writing pages out and marking rows as visible, is done before each
 * stretch, of either side. Behind them their mail is deleted: their full mailboxes are part of what is measured.
 *
 * A short run asks only for what no busy machine can spoil: everything comes, in order, and nobody is told OVERLOADED but those who send
 * to the slow ones. */
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import type { CampaignOptions, MeshCampaign, Verdict } from "./_campaign.ts";
import { fixture, type MeshBed, type MeshWord } from "./_mesh-bed.ts";
import { type Side, Stretches } from "./_stretches.ts";

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
const TRICKLE_MAX = 10_000;
const SETTLE_MS = 500;

/** What is measured. */
interface Kind {
  readonly name: string;
  readonly durable: boolean;
  /** Played in a short run too. */
  readonly isShort: boolean;
  readonly bodyBytes: number;
  readonly perSecond: number;
  /** Messages of a stretch of a long run. */
  readonly count: number;
  /** Fast messages under way at most. */
  readonly window: number;
  /** To fill the slow ones' queues. */
  readonly fill: { readonly count: number; readonly perSecond: number; readonly window: number };
}

const SMALL = {
  bodyBytes: KIB,
  perSecond: 500,
  count: 2_000,
  window: 256,
  fill: { count: FILL.small, perSecond: 5_000, window: FILL.small },
};
const LARGE = {
  bodyBytes: 64 * KIB,
  perSecond: 200,
  count: 1_250,
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
const SLOW = ["slow-source", "slow-sink"] as const;

/** What a source says of a run. */
interface SourceReport {
  readonly sent: number;
  readonly pending: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly tookMs: readonly number[];
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
  readonly #stretches = new Stretches();
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
    const names = [...PAIRS.flatMap(({ name }) => [`${name}-source`, `${name}-sink`]), ...SLOW];
    await Promise.all(names.map((name) => this.#start(name)));
    await Promise.all(
      PAIRS.flatMap(({ name, ns }) =>
        [`${name}-source`, `${name}-sink`].map((one) => this.#join(one, ns, [one])),
      ),
    );
    const endAtMs = performance.now() + durationMs;
    const kinds = KINDS.filter(({ isShort }) => this.#isLong || isShort);
    const rounds = this.#isLong ? ROUNDS_MIN : 1;
    for (
      let round = 0;
      round < rounds || (this.#isLong && performance.now() < endAtMs);
      round += 1
    ) {
      for (const kind of kinds) await this.#playRound(kind);
      this.#counts["rounds"] = round + 1;
      progress(`round ${round + 1}: ${this.#lines().join("; ")}`);
      if (this.#problems.length > 0) break;
    }
    for (const line of this.#lines()) progress(line);
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
    for (const name of SLOW) await this.#bed.kill(name);
  }

  async #playRound(kind: Kind): Promise<void> {
    // The first messages of a kind find everybody used to another one.
    if (this.#isLong) await this.#runPairs(kind, kind.perSecond);
    await this.#measure(kind, "alone");
    await this.#besideSlowOnes(kind);
    if (this.#isLong) await this.#measure(kind, "alone");
  }

  async #start(name: string): Promise<void> {
    const hear = (said: MeshWord): void => void this.#words.set(name, said);
    await this.#bed.start(name, { file: FLOW, env: {}, hear });
  }

  async #join(
    name: string,
    ns: string,
    agentIds: readonly string[],
    ackEveryMs = 0,
  ): Promise<void> {
    const agents = [];
    for (const agentId of agentIds) {
      const token = await this.#bed.identity.token({ sub: agentId, kind: "agent", ns });
      agents.push({ agentId, token });
    }
    const join = { agents, address: this.#bed.addressOf(REPLICA), ackEveryMs };
    await this.#tell(name, { join }, (word) => word["joined"] === true);
  }

  /** One kind beside slow consumers of its own, whose queues are full. */
  async #besideSlowOnes(kind: Kind): Promise<void> {
    const run = `slow-${this.#nextRun()}`;
    const to = [`${run}-a`, `${run}-b`];
    await Promise.all([
      this.#join("slow-sink", "default", to, SLOW_EVERY_MS),
      this.#join("slow-source", "default", [run]),
    ]);
    const flow = { run, to, bodyBytes: kind.bodyBytes, durable: kind.durable };
    this.#bed.say("slow-source", { begin: { ...flow, ...kind.fill } });
    const filled = await this.#untilFull(kind.fill.count);
    const slowly = { count: TRICKLE_MAX, perSecond: TRICKLE_PER_SECOND, window: TRICKLE_MAX };
    this.#bed.say("slow-source", { begin: { ...flow, ...slowly, run: `${run}-on` } });
    await this.#measure(kind, "beside");
    if (this.#isLong) await this.#measure(kind, "beside");
    this.#judgeSlow(kind, filled);
    for (const name of SLOW) {
      await this.#tell(name, { leave: true }, (word) => word["left"] === true);
    }
    await this.#bed.tables.query(
      "DELETE FROM mail USING mailboxes m WHERE mail.mailbox_id = m.mailbox_id AND m.agent_id = ANY($1)",
      [to],
    );
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

  async #measure(kind: Kind, side: Side): Promise<void> {
    if (this.#isLong) await this.#rest();
    const count = this.#isLong ? kind.count : kind.perSecond;
    for (const { pair, report } of await this.#runPairs(kind, count)) {
      this.#stretches.add(`${kind.name}, ${pair}`, side, report.tookMs);
      if (pair === "fast" && side === "beside") this.#count("fast messages", report.sent);
    }
  }

  /** Has the database do at once what it would do some time later of all that was written: else it does it in whatever stretch comes next. */
  async #rest(): Promise<void> {
    await this.#bed.tables.query("VACUUM mail");
    await this.#bed.tables.query("CHECKPOINT");
    await sleep(SETTLE_MS);
  }

  /** Both pairs send so many; everything must come, in order, as it was promised. */
  async #runPairs(
    kind: Kind,
    count: number,
  ): Promise<{ readonly pair: string; readonly report: SourceReport }[]> {
    const run = `run-${this.#nextRun()}`;
    const { bodyBytes, durable, perSecond, window } = kind;
    const reports = await Promise.all(
      PAIRS.map(async ({ name: pair }) => {
        const begin = { run, to: [`${pair}-sink`], count, perSecond, window, bodyBytes, durable };
        const isOver = (word: MeshWord) => word["over"] === run;
        const word = await this.#tell(`${pair}-source`, { begin }, isOver);
        return { pair, report: word["source"] as SourceReport };
      }),
    );
    for (const { pair, report } of reports) {
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
    const word = await this.#tell(`${name}-source`, { ask: "source" }, has("source"));
    return word["source"] as SourceReport;
  }

  async #askSink(name: string): Promise<SinkReport> {
    const word = await this.#tell(`${name}-sink`, { ask: "sink" }, has("sink"));
    return word["sink"] as SinkReport;
  }

  /** Tells a process something and waits for its answer. */
  async #tell(
    process: string,
    word: MeshWord,
    isAnswer: (said: MeshWord) => boolean,
  ): Promise<MeshWord> {
    this.#words.delete(process);
    this.#bed.say(process, word);
    const answer = () => {
      const said = this.#words.get(process);
      return said !== undefined && isAnswer(said) ? said : undefined;
    };
    return waitFor(answer, { what: `${process} to answer`, timeoutMs: LIVENESS_MS });
  }

  #lines(): string[] {
    return this.#stretches.keys.map((key) => {
      const { aloneMs, besideMs, ratio, byChance } = this.#stretches.compare(key);
      const times = `p99 ${aloneMs.toFixed(1)} ms alone, ${besideMs.toFixed(1)} beside`;
      return `${key}: ${times}, ratio ${ratio.toFixed(2)}, by chance up to ${byChance.toFixed(2)}`;
    });
  }

  #percents(): Record<string, number> {
    const { keys } = this.#stretches;
    return Object.fromEntries(
      keys.map((key) => [`p99 in %: ${key}`, Math.round(this.#stretches.compare(key).ratio * 100)]),
    );
  }

  #slowed(): string[] {
    if (!this.#isLong || this.#problems.length > 0) return [];
    const slow = this.#stretches.keys.flatMap((key) => {
      const { ratio, byChance } = this.#stretches.compare(key);
      if (ratio < RATIO_MAX) return [];
      return [
        `${key}: the p99 moves by ${ratio.toFixed(2)}, by chance up to ${byChance.toFixed(2)}`,
      ];
    });
    const sent = this.#counts["fast messages"] ?? 0;
    return [...slow, ...(sent < FAST_MIN * KINDS.length ? [`only ${sent} fast messages`] : [])];
  }

  #count(what: string, by: number): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + by;
  }

  #nextRun(): number {
    this.#run += 1;
    return this.#run;
  }
}

function has(what: string): (word: MeshWord) => boolean {
  return (word) => word[what] !== undefined;
}
