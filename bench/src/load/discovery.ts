/** A registry full of agents that are not there, and questions to it. */
import { randomUUID } from "node:crypto";
import { AgentState, type NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSteadily, type SteadyResult, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

const RARE_CAPABILITIES = 100;
const MINOR_VERSIONS = 10;
const ZONES = ["a", "b", "c", "d"] as const;
const FIELDS = ["contracts", "invoices", "letters", "manuals", "patents"] as const;
const LANGUAGES = ["german", "french", "polish", "spanish"] as const;
const COMMON = "bench.common";
const LIMIT = 20;
const IN_FLIGHT_MAX = 200;
const TICK_MS = 10;
/** Registered agents are not connected, and discovery leaves those out unless it is told otherwise. */
const STATES = [AgentState.ONLINE, AgentState.BUSY, AgentState.OFFLINE];

/** How to fill the registry. */
export interface RegisterOptions {
  readonly agents: number;
  readonly inFlight: number;
}

/** Registers agents through the API, many at a time. Returns how many a second. */
export async function registerAgents(
  client: NexusClient,
  { agents, inFlight }: RegisterOptions,
): Promise<number> {
  const beganAtMs = monotonicMs();
  let next = 0;
  const lane = async () => {
    while (next < agents) await client.registry.registerAgent(describeAgent(next++));
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (agents / (monotonicMs() - beganAtMs)) * 1_000;
}

function describeAgent(number: number) {
  const version = `1.${number % MINOR_VERSIONS}.0`;
  const field = FIELDS[number % FIELDS.length] ?? "";
  const language = LANGUAGES[Math.floor(number / FIELDS.length) % LANGUAGES.length] ?? "";
  return {
    requestId: randomUUID(),
    agentId: `bench-agent-${number}`,
    displayName: `Bench agent ${number}`,
    slots: 1 + (number % 8),
    region: "eu-west-1",
    labels: { zone: zoneOf(number), tier: number % 3 === 0 ? "gold" : "plain" },
    capabilities: [
      {
        name: rareCapability(number),
        version,
        description: `Summarises ${language} ${field}`,
        tags: [field, language],
        costMicros: BigInt(number % 50),
      },
      { name: COMMON, version, description: "What every agent can do", tags: ["common"] },
    ],
  };
}

function rareCapability(number: number): string {
  return `bench.rare-${number % RARE_CAPABILITIES}`;
}

function zoneOf(number: number): string {
  return ZONES[Math.floor(number / RARE_CAPABILITIES) % ZONES.length] ?? "";
}

/** The questions: a capability that one agent in a hundred has; the same with a label; one that all have; words. */
export const QUESTIONS = ["rare", "labelled", "common", "text"] as const;

/** Which question. */
export type Question = (typeof QUESTIONS)[number];

/** How to ask. */
export interface DiscoverOptions extends Stretch {
  readonly perSecond: number;
}

/** Latencies of all questions in turn, and of each. */
export interface DiscoveryLatency {
  readonly latencyMs: Distribution;
  readonly byQuestionMs: Readonly<Record<Question, Distribution>>;
  readonly result: SteadyResult;
}

/** Asks the four questions in turn, at a fixed rate. Errors: an Error for an answer without agents. */
export async function discoverSteadily(
  client: NexusClient,
  options: DiscoverOptions,
): Promise<DiscoveryLatency> {
  const latenciesMs: Record<Question, number[]> = { rare: [], labelled: [], common: [], text: [] };
  const tickMs = Math.max(TICK_MS, 1_000 / options.perSecond);
  const perTick = Math.round((options.perSecond * tickMs) / 1_000);
  const pace = { ...options, tickMs, perTick, inFlightMax: IN_FLIGHT_MAX };
  const result = await runSteadily(pace, async ({ index, plannedAtMs, measured }) => {
    const question = QUESTIONS[index % QUESTIONS.length] ?? "rare";
    const number = Math.floor(index / QUESTIONS.length);
    const { candidates } = await client.registry.discoverAgents({
      ...ask(question, number),
      states: STATES,
      limit: LIMIT,
    });
    if (candidates.length === 0) throw new Error(`the ${question} question found nobody`);
    if (measured) latenciesMs[question].push(monotonicMs() - plannedAtMs);
  });
  return {
    latencyMs: describeValues(QUESTIONS.flatMap((question) => latenciesMs[question])),
    byQuestionMs: {
      rare: describeValues(latenciesMs.rare),
      labelled: describeValues(latenciesMs.labelled),
      common: describeValues(latenciesMs.common),
      text: describeValues(latenciesMs.text),
    },
    result,
  };
}

function ask(question: Question, number: number) {
  switch (question) {
    case "rare":
      return { capability: rareCapability(number), versionRange: "^1.0.0" };
    case "labelled": {
      const zone = ZONES[number % ZONES.length] ?? "";
      return { capability: rareCapability(number), requiredLabels: { zone } };
    }
    case "common":
      return { capability: COMMON, versionRange: ">=1.2.0 <2.0.0" };
    case "text": {
      const field = FIELDS[number % FIELDS.length] ?? "";
      return { text: "summarises german", tags: [field] };
    }
  }
}
