/** Durable messages to names, capabilities, topics and groups, many in flight, while everything is killed, also Postgres and all routers at once,
 * agents move, and connections go silent between agents and the gateway and between the gateway and routers.
 *
 * Every message that was acknowledged to its sender is handled, or refused for good, by everyone whom it is for; each pair's in the order in
 * which they were sent; what one of many is to have comes to one. Nothing is left, and nothing else is dead. */
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { type CampaignOptions, type MeshCampaign, playRounds, type Verdict } from "./_campaign.ts";
import {
  CAPABILITY,
  fixture,
  type MeshBed,
  RECEIVERS,
  REPLICAS,
  SILENT_MAX_MS,
} from "./_mesh-bed.ts";
import { type Lane, MeshLedger } from "./_mesh-ledger.ts";
import { MeshSilences } from "./_mesh-silences.ts";
import { type Fault, playFaults } from "./_nemesis.ts";
import { createRandom, type Random } from "./_random.ts";

const SHORT_MS = 6_000;
/** What was said is judged and forgotten so often. */
const ROUND_MS = 30_000;
const AGENT = fixture("mesh-agent.mjs");
const SENDERS = ["sender-0", "sender-1"] as const;
const AGENTS = [...RECEIVERS, ...SENDERS] as const;
/** Messages without an outcome in each lane of each sender. */
const WINDOW = 40;
const CALM_MS = [100, 600] as const;
const DOWN_MAX_MS = 400;
/** After messages went out: most of them have no outcome yet. */
const STRIKE_MAX_MS = 30;
const LIVENESS_MS = 60_000;
/** Some 500 are usual beside one fault a second. */
const STORED_PER_SECOND_MIN = 50;
const RETRIED_MIN = 5;
const TOPIC = "news.today";
const GROUP_TOPIC = "work.now";

const LANES: readonly Lane[] = [
  ...RECEIVERS.map((receiver): Lane => {
    return { name: receiver, reach: "named", receiver, address: { toAgentId: receiver } };
  }),
  { name: "capability", reach: "any", address: { toCapability: CAPABILITY } },
  { name: "topic", reach: "all", address: { toTopic: TOPIC } },
  { name: "group", reach: "any", address: { toTopic: GROUP_TOPIC } },
];
const SUBSCRIBES = [
  { pattern: "news.>", durable: true },
  { pattern: "work.*", group: "team", durable: true },
];

/** The campaign. */
export const meshKills: MeshCampaign = {
  name: "mesh-kills",
  about:
    "SIGKILL of senders, receivers, gateway, routers, Redis and Postgres, silent connections, agents that move: durable messages",
  shortMs: SHORT_MS,
  async playOnMesh(bed, options) {
    const played = new MeshKills(bed, options);
    try {
      return await played.play();
    } finally {
      await played.end();
    }
  },
};

class MeshKills {
  readonly #bed: MeshBed;
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #ledger = new MeshLedger(LANES, RECEIVERS);
  readonly #faults: readonly [Fault, ...Fault[]];
  readonly #silences: MeshSilences;
  #played = 0;

  constructor(bed: MeshBed, options: CampaignOptions) {
    this.#bed = bed;
    this.#options = options;
    this.#random = createRandom(options.seed);
    this.#silences = new MeshSilences(bed, AGENTS);
    this.#faults = this.#allFaults();
  }

  async play(): Promise<Verdict> {
    const startedAtMs = performance.now();
    await Promise.all(RECEIVERS.map((name) => this.#startAgent(name)));
    await Promise.all(SENDERS.map((name) => this.#startAgent(name)));
    const { problems } = await playRounds(this.#options, () => this.#round());
    const seconds = (performance.now() - startedAtMs) / 1_000;
    const faultSeconds = Math.min(seconds, this.#options.durationMs / 1_000);
    const minimums = {
      stored: Math.round(STORED_PER_SECOND_MIN * faultSeconds),
      retried: RETRIED_MIN,
      rejected: RETRIED_MIN,
    };
    return {
      counts: {
        faults: this.#played,
        ...this.#ledger.counts,
        ...this.#silences.counts,
      },
      problems: [...problems, ...this.#ledger.tooLittle(minimums), ...this.#silences.tooFew()],
    };
  }

  async end(): Promise<void> {
    for (const name of AGENTS) await this.#bed.kill(name);
  }

  async #round(): Promise<Verdict> {
    const { durationMs, progress } = this.#options;
    for (const name of SENDERS) this.#bed.say(name, { hold: false });
    const signal = AbortSignal.timeout(Math.min(ROUND_MS, durationMs));
    const { length: atLeast } = this.#faults;
    this.#played += await playFaults(signal, {
      faults: this.#faults,
      random: this.#random,
      progress,
      atLeast,
      calmMs: CALM_MS,
    });
    for (const name of SENDERS) this.#bed.say(name, { hold: true });
    const unsettled = await this.#settled();
    const said = this.#ledger.failures;
    progress(
      `${this.#ledger.stored} stored${said === "" ? "" : `; senders were also told ${said}`}`,
    );
    return {
      counts: {},
      problems: [...unsettled, ...this.#ledger.judge(), ...(await this.#deadOnes())],
    };
  }

  /** Waits until every message is stored and handled, and its acknowledgement too. */
  async #settled(): Promise<string[]> {
    const left = () => this.#rows("mail JOIN mailboxes USING (mailbox_id)");
    try {
      await waitFor(async () => this.#ledger.missing === 0 && (await left()) === 0, {
        what: "the last message",
        timeoutMs: LIVENESS_MS,
      });
      return [];
    } catch {
      return [
        `${this.#ledger.missing} messages did not come, ${await left()} are left in mailboxes`,
      ];
    }
  }

  /** A receiver that refuses a message for good is why one is dead; nothing else is. */
  async #deadOnes(): Promise<string[]> {
    const dead = await this.#rows("dead_messages");
    const { refused } = this.#ledger;
    return dead === refused ? [] : [`${dead} messages are dead; ${refused} were refused for good`];
  }

  /** Counts what is there for its receivers; other campaigns leave things behind. */
  async #rows(table: string): Promise<number> {
    const query = `SELECT count(*)::int AS count FROM ${table} WHERE agent_id = ANY ($1)`;
    const { rows } = await this.#bed.tables.query<{ count: number }>(query, [[...RECEIVERS]]);
    return rows[0]?.count ?? -1;
  }

  async #startAgent(agentId: string): Promise<void> {
    const token = await this.#bed.identity.token({ sub: agentId, kind: "agent" });
    const addresses = [this.#bed.gatewayAddress];
    const isSender = SENDERS.some((name) => name === agentId);
    const lanes = LANES.map((lane) => {
      const { unsure, next } = this.#ledger.openOf(agentId, lane.name);
      return { name: lane.name, address: lane.address, unsure, next };
    });
    const does = isSender ? { lanes, window: WINDOW } : { subscribes: SUBSCRIBES };
    const silentMaxMs = SILENT_MAX_MS;
    const word = JSON.stringify({ agentId, token, addresses, silentMaxMs, ...does });
    const hear = (said: object): void => this.#ledger.hear(agentId, { ...said });
    await this.#bed.start(agentId, { file: AGENT, env: { NEXUS_TEST_AGENT: word }, hear });
  }

  #allFaults(): [Fault, ...Fault[]] {
    const bed = this.#bed;
    const down = (): Promise<void> => sleep(this.#random.between(0, DOWN_MAX_MS));
    const agent = async (name: string): Promise<void> => {
      await bed.kill(name);
      await down();
      await this.#startAgent(name);
    };
    const store = async (name: "redis" | "postgres"): Promise<void> => {
      await bed[name].kill();
      await down();
      await bed[name].restart();
    };
    const replica = async (name: (typeof REPLICAS)[number]): Promise<void> => {
      await bed.kill(name);
      await down();
      await bed.startReplica(name);
    };
    // What was acknowledged and is not with its receiver is in no memory any more: only a commit that reached the disk has it.
    const power = async (absent: string): Promise<void> => {
      await bed.kill(absent);
      const { stored } = this.#ledger;
      await waitFor(() => this.#ledger.stored > stored, {
        what: `mail for ${absent}, which is absent`,
        timeoutMs: LIVENESS_MS,
      });
      await Promise.all([bed.postgres.kill(), ...REPLICAS.map((name) => bed.kill(name))]);
      await down();
      await bed.postgres.restart();
      await Promise.all(REPLICAS.map((name) => bed.startReplica(name)));
      await this.#startAgent(absent);
    };
    const gateway = async (): Promise<void> => {
      await bed.kill("gateway");
      await down();
      await bed.startGateway();
    };
    return [
      this.#fault("kills", () => "gateway" as const, gateway),
      this.#fault("cuts the power beside", (random) => random.pick(RECEIVERS), power),
      this.#fault(
        "silences",
        () => "agents" as const,
        () => this.#silences.ofAgents(),
      ),
      this.#fault(
        "silences",
        (random) => random.pick(REPLICAS),
        (name) => this.#silences.ofRouter(name),
      ),
      this.#fault("kills", (random) => random.pick(SENDERS), agent),
      this.#fault("kills", (random) => random.pick(RECEIVERS), agent),
      this.#fault("kills", (random) => random.pick(REPLICAS), replica),
      this.#fault("kills", () => "redis" as const, store),
      this.#fault("kills", () => "postgres" as const, store),
      this.#fault(
        "moves",
        (random) => random.pick(AGENTS),
        async (name) => {
          bed.say(name, { move: true });
        },
      ),
    ];
  }

  /** A fault strikes while messages are under way, and is over when messages are stored again. */
  #fault<T extends string>(
    verb: string,
    choose: (random: Random) => T,
    strike: (name: T) => Promise<void>,
  ): Fault {
    return {
      name: verb,
      play: async (random, say) => {
        const name = choose(random);
        const { sent } = this.#ledger;
        const what = "messages to be under way";
        await waitFor(() => this.#ledger.sent > sent, { what, timeoutMs: LIVENESS_MS });
        await sleep(random.between(0, STRIKE_MAX_MS));
        const before = this.#ledger.stored;
        await strike(name);
        await waitFor(() => this.#ledger.stored > before, {
          what: `a message to be stored after the ${name}: ${verb}`,
          timeoutMs: LIVENESS_MS,
        });
        say(`${verb} ${name}; ${this.#ledger.stored} stored`);
      },
    };
  }
}
