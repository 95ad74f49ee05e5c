/** Shared state written at two replicas while one of them is cut off from Redis, from Postgres, or from both.
 *
 * State is decided in Postgres, under its bucket's lock, so replicas cannot diverge: one that is cut off from Redis alone goes on to take
 * writes, which everybody reads at once; it asks Postgres what its watchers are not told of, and others learn by the gap what it could not
 * tell. One that is cut off from Postgres answers nothing rather than on its own; what it was writing is there once or not at all, and a
 * repeat of the call finds out which. Concurrent is what writers did not know of each other, wherever they wrote. */
import { type StateEntry, StatePolicy, StateService } from "@nexus/proto/mesh";
import { createRpcClient } from "@nexus/rpc";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import {
  belowMinimum,
  type CampaignOptions,
  type MeshCampaign,
  type Verdict,
} from "./_campaign.ts";
import type { MeshBed, ReplicaName } from "./_mesh-bed.ts";
import { type Fault, playFaults } from "./_nemesis.ts";
import { createRandom } from "./_random.ts";
import { StateFollower } from "./_state-follower.ts";
import {
  KEYS,
  POLICIES,
  type PolicyName,
  type StateClient,
  StateWriters,
  type Written,
} from "./_state-writers.ts";

const SHORT_MS = 5_000;
/** Who writes where; the second is cut off. */
const SIDES = [
  { who: "alice", at: "replica-0" },
  { who: "bob", at: "replica-1" },
] as const;
const CUT_OFF = "replica-1";
const STORED_AS = {
  lww: StatePolicy.LWW,
  vector: StatePolicy.VECTOR,
  cas: StatePolicy.CAS,
  counter: StatePolicy.COUNTER,
} as const;
/** By then a replica has noticed that its connection is cut, and nobody has given it up. */
const NOTICED_MS = 100;
const CALM_MS = [200, 600] as const;
const CUT_MIN_MS = 300;
const CUT_MAX_MS = 1_200;
const LIVENESS_MS = 60_000;
/** Of answered writes, for each policy and side. */
const WRITES_MIN = 20;

/** The campaign. */
export const statePartition: MeshCampaign = {
  name: "state-partition",
  about:
    "a replica cut off from Redis, Postgres or both while all policies are written at two: one state, no silent gap",
  shortMs: SHORT_MS,
  async playOnMesh(bed, options) {
    const played = new StatePartition(bed, options);
    try {
      return await played.play();
    } finally {
      await played.end();
    }
  },
};

class StatePartition {
  readonly #bed: MeshBed;
  readonly #options: CampaignOptions;
  readonly #clients: readonly StateClient[];
  readonly #run: string;
  readonly #writers: StateWriters;
  readonly #followers = new Map<string, StateFollower>();
  readonly #problems: string[] = [];
  readonly #counts = {
    cuts: 0,
    "writes beside a cut bus": 0,
    "answers without Postgres": 0,
    "silences without Postgres": 0,
  };

  constructor(bed: MeshBed, options: CampaignOptions) {
    this.#bed = bed;
    this.#options = options;
    this.#run = `${options.seed}-${Date.now().toString(36)}`;
    this.#writers = new StateWriters(this.#run);
    this.#clients = SIDES.map(({ who, at }) =>
      createRpcClient(StateService, bed.channelTo(at), {
        tokens: bed.identity.tokens({ sub: who }),
      }),
    );
  }

  async play(): Promise<Verdict> {
    for (const policy of POLICIES) {
      const bucket = this.#bucketOf(policy);
      const make = { requestId: bucket, bucket, policy: STORED_AS[policy] };
      await this.#clients[0]?.createBucket(make);
      for (const [side, client] of this.#clients.entries()) {
        this.#followers.set(`${policy} at ${SIDES[side]?.at}`, new StateFollower(client, bucket));
      }
    }
    const writing = POLICIES.flatMap((policy) =>
      this.#clients.map((client, side) => {
        const who = SIDES[side]?.who ?? "";
        return this.#writers.write(policy, { client, bucket: this.#bucketOf(policy), who });
      }),
    );
    // Awaited at the end; a failure before that must not count as one that nobody handles.
    for (const one of writing) one.catch(() => undefined);
    const faults = this.#faults();
    this.#counts.cuts = await playFaults(AbortSignal.timeout(this.#options.durationMs), {
      faults,
      random: createRandom(this.#options.seed),
      progress: this.#options.progress,
      atLeast: faults.length,
      calmMs: CALM_MS,
    });
    await this.#untilEnough();
    this.#writers.stop();
    await Promise.all(writing);
    await this.#loseSignals();
    await this.#judge();
    return { counts: this.#allCounts(), problems: [...this.#problems, ...this.#tooLittle()] };
  }

  async end(): Promise<void> {
    this.#writers.stop();
    for (const follower of this.#followers.values()) await follower.stop().catch(() => undefined);
  }

  #faults(): [Fault, ...Fault[]] {
    const { postgres, redis } = this.#bed.ways.get(CUT_OFF) ?? {};
    const cut = (name: string, stores: readonly ("postgres" | "redis")[]): Fault => ({
      name,
      play: async (random, say) => {
        const ways = stores.map((store) => (store === "redis" ? redis : postgres));
        const cutMs = random.between(CUT_MIN_MS, CUT_MAX_MS);
        say(`${name} for ${cutMs} ms`);
        for (const way of ways) way?.cut();
        if (stores.includes("postgres")) await this.#untilSilent();
        const before = this.#answeredOf(CUT_OFF);
        await sleep(cutMs);
        if (!stores.includes("postgres")) await this.#untilMoreAt(CUT_OFF);
        const came = this.#answeredOf(CUT_OFF) - before;
        for (const way of ways) way?.heal();
        if (came === 0) this.#counts["silences without Postgres"] += 1;
        if (stores.includes("postgres")) this.#counts["answers without Postgres"] += came;
        else this.#counts["writes beside a cut bus"] += came;
        for (const { at } of SIDES) await this.#untilMoreAt(at);
      },
    });
    return [
      cut("cuts Redis off", ["redis"]),
      cut("cuts Postgres off", ["postgres"]),
      cut("cuts both off", ["redis", "postgres"]),
    ];
  }

  #answeredOf(replica: ReplicaName): number {
    const { who } = SIDES.find(({ at }) => at === replica) ?? {};
    const all = [...this.#writers.written.values()].filter(({ side }) => side === who);
    return all.reduce((sum, { answered }) => sum + answered, 0);
  }

  async #untilMoreAt(replica: ReplicaName): Promise<void> {
    const before = this.#answeredOf(replica);
    const goesOn = () => this.#answeredOf(replica) >= before + POLICIES.length;
    await waitFor(goesOn, { what: `writes at ${replica}`, timeoutMs: LIVENESS_MS });
  }

  /** What was committed before the cut may be answered a while after it. */
  async #untilSilent(): Promise<void> {
    let known = -1;
    const isSilent = async () => {
      const before = known;
      known = this.#answeredOf(CUT_OFF);
      if (known !== before) await sleep(CUT_MIN_MS);
      return known === before;
    };
    await waitFor(isSilent, { what: "no answer without Postgres", timeoutMs: LIVENESS_MS });
  }

  /** A slow machine needs more time for as many. */
  async #untilEnough(): Promise<void> {
    const isEnough = () =>
      [...this.#writers.written.values()].every(({ answered }) => answered >= WRITES_MIN);
    await waitFor(isEnough, { what: "enough writes", timeoutMs: LIVENESS_MS });
  }

  /** The last changes of all are made where the bus is cut off, so that nobody is told of them: at the other side, which hears the bus and
   * has no reason to ask, the gap is all that its watchers can learn of them by. */
  async #loseSignals(): Promise<void> {
    const [client] = this.#clients;
    const [{ who, at }] = SIDES;
    const { redis } = this.#bed.ways.get(at) ?? {};
    if (client === undefined) return;
    redis?.cut();
    await sleep(NOTICED_MS);
    for (const policy of POLICIES) {
      const written = this.#writers.written.get(`${policy} ${who}`);
      if (written === undefined) continue;
      const step = { client, bucket: this.#bucketOf(policy), key: KEYS[0], written };
      await this.#writers.writeOne(policy, { ...step, value: `${who} last` });
    }
    redis?.heal();
  }

  async #judge(): Promise<void> {
    for (const policy of POLICIES) {
      const bucket = this.#bucketOf(policy);
      const [one, other] = await Promise.all(
        this.#clients.map((client) => readAll(client, bucket)),
      );
      if (one === undefined || other === undefined) continue;
      if (shown(one) !== shown(other)) {
        this.#problems.push(`${policy}: ${shown(one)} and ${shown(other)}`);
      }
      this.#judgeValues(policy, one);
      await this.#judgeFollowers(policy, one);
    }
    if (this.#counts["answers without Postgres"] > 0) {
      this.#problems.push("a replica that was cut off from Postgres answered writes");
    }
  }

  /** Each key holds what was answered last; of VECTOR, what each side answered last, side by side. */
  #judgeValues(policy: PolicyName, entries: ReadonlyMap<string, StateEntry>): void {
    const sides = SIDES.map(({ who }) => this.#writers.written.get(`${policy} ${who}`));
    const written = sides.filter((side) => side !== undefined);
    if (policy === "counter") {
      const sum = [...entries.values()].reduce((all, { counter }) => all + counter, 0n);
      const answered = written.reduce((all, side) => all + side.answered, 0);
      if (sum !== BigInt(answered)) this.#problems.push(`counter: ${sum}, of ${answered} answered`);
      return;
    }
    for (const key of KEYS) {
      const last = written.flatMap((side) => side.last.get(key) ?? []);
      last.sort((a, b) => Number(b.revision - a.revision));
      const expected = (policy === "vector" ? last : last.slice(0, 1))
        .map(({ value }) => value)
        .sort();
      const found = textsOf(entries.get(key)).sort();
      const writers = entries.get(key)?.versions.map(({ origin }) => origin?.principalId ?? "");
      const named = textsOf(entries.get(key)).map((text) => text.split(" ")[0]);
      if (writers?.join() !== named.join()) {
        this.#problems.push(`${policy} ${key}: ${found.join(", ")} of ${writers?.join(", ")}`);
      }
      if (found.join() === expected.join()) continue;
      this.#problems.push(
        `${policy} ${key}: ${found.join(", ")} instead of ${expected.join(", ")}`,
      );
    }
    const replaced = written.flatMap((side) => side.replaced).filter((revision) => revision > 0n);
    if (new Set(replaced).size < replaced.length) {
      this.#problems.push(`${policy}: one revision was replaced twice`);
    }
  }

  /** Watchers at both sides know the same, and were told of everything in its order. */
  async #judgeFollowers(
    policy: PolicyName,
    entries: ReadonlyMap<string, StateEntry>,
  ): Promise<void> {
    for (const { at } of SIDES) {
      const follower = this.#followers.get(`${policy} at ${at}`);
      if (follower === undefined) continue;
      try {
        await waitFor(() => shown(follower.entries) === shown(entries), {
          what: "the last change",
          timeoutMs: LIVENESS_MS / 4,
        });
      } catch {
        const state = `${shown(follower.entries)} instead of ${shown(entries)}`;
        this.#problems.push(`${policy}: a watcher at ${at} knows ${state}`);
      }
      if (follower.gaps.length > 0) {
        this.#problems.push(
          `${policy}: a watcher at ${at} was told ${follower.gaps.slice(0, 3).join(", ")}`,
        );
      }
    }
  }

  #bucketOf(policy: PolicyName): string {
    return `partition-${this.#run}-${policy}`;
  }

  #allCounts(): Record<string, number> {
    const all = [...this.#writers.written];
    const sum = (pick: (written: Written) => number) =>
      all.reduce((total, [, written]) => total + pick(written), 0);
    const resyncs = [...this.#followers.values()].reduce((total, one) => total + one.resyncs, 0);
    return {
      ...this.#counts,
      ...Object.fromEntries(all.map(([name, { answered }]) => [`${name}: answered`, answered])),
      "said again": sum(({ repeated }) => repeated),
      "lost comparisons": sum(({ refused }) => refused),
      resyncs,
    };
  }

  #tooLittle(): string[] {
    const minimums = Object.fromEntries(
      [...this.#writers.written.keys()].map((name) => [`${name}: answered`, WRITES_MIN]),
    );
    const cuts = { "writes beside a cut bus": POLICIES.length, "silences without Postgres": 2 };
    return belowMinimum(this.#allCounts(), { ...minimums, ...cuts });
  }
}

function textsOf(entry: StateEntry | undefined): string[] {
  return (entry?.versions ?? []).map(({ value }) => new TextDecoder().decode(value?.data));
}

async function readAll(client: StateClient, bucket: string): Promise<Map<string, StateEntry>> {
  const { entries } = await client.batchGetEntries({ bucket, keys: [...KEYS] });
  return new Map(entries.map((entry) => [entry.key, entry]));
}

/** A state as a text: equal when it is. */
function shown(entries: ReadonlyMap<string, StateEntry>): string {
  return [...entries.values()]
    .map((entry) => {
      return `${entry.key}@${entry.revision} ${entry.counter} ${textsOf(entry).join(" | ")}`;
    })
    .sort()
    .join("; ");
}
