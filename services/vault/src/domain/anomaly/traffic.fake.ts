/** Days of a deployment as its audit log has them: people by day, agents day and night, bursts, batches at night, restarts on other
 * hosts, new agents, new keys, and people who mistype. The same seed makes the same days. */
import type { AuditEvent } from "./alert.ts";

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;
const STARTED_AT_MS = Date.UTC(2026, 5, 1);
const GATEWAYS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

/** What a deployment is like. */
export interface Deployment {
  readonly seed: number;
  readonly days: number;
  readonly agents: number;
  readonly people: number;
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function createChance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Actor {
  readonly principalId: string;
  readonly kind: "user" | "agent";
  /** Calls a minute at noon. */
  readonly rate: number;
  /** Share of its calls that decrypt. */
  readonly decrypts: number;
  readonly fromMinute: number;
  /** Works for an hour each night, and only then. */
  readonly nightly: boolean;
  readonly keys: string[];
  host: string;
  token: number;
  burstUntil: number;
  burstFactor: number;
}

/** Plays the days, minute by minute, in the order of the log. */
export function* playTraffic(deployment: Deployment): Generator<readonly AuditEvent[]> {
  const chance = createChance(deployment.seed);
  const actors = makeActors(deployment, chance);
  let leafIndex = 0;
  for (let minute = 0; minute < deployment.days * DAY_MINUTES; minute++) {
    const events: AuditEvent[] = [];
    for (const actor of actors) {
      if (minute < actor.fromMinute) continue;
      changeHabits(actor, minute, chance);
      const calls = poisson(actor.rate * activityAt(actor, minute), chance);
      for (let call = 0; call < calls; call++) {
        const timeMs = STARTED_AT_MS + minute * MINUTE_MS + (MINUTE_MS * call) / calls;
        events.push(callOf(actor, { timeMs, leafIndex: leafIndex++ }, chance));
      }
    }
    for (const event of failures(actors, minute, chance)) {
      events.push({ ...event, leafIndex: leafIndex++ });
    }
    yield events;
  }
}

function makeActors({ agents, people, days }: Deployment, chance: () => number): Actor[] {
  const rates = { agent: () => 0.5 + 12 * chance() ** 2, user: () => 0.3 };
  const make = (kind: "user" | "agent", index: number, nightly = false): Actor => {
    const isLate = kind === "agent" && !nightly && index % 4 === 3;
    return {
      principalId: `${kind}-${index}${nightly ? "-nightly" : ""}`,
      kind,
      rate: nightly ? 40 : rates[kind](),
      decrypts: nightly ? 1 : 0.2 + 0.6 * chance(),
      fromMinute: isLate ? Math.floor(chance() * days * DAY_MINUTES) : 0,
      nightly,
      keys: [`key-${kind}-${index}`],
      host: hostOf(chance),
      token: 0,
      burstUntil: 0,
      burstFactor: 1,
    };
  };
  return [
    ...Array.from({ length: agents }, (_, index) => make("agent", index)),
    ...Array.from({ length: people }, (_, index) => make("user", index)),
    make("agent", agents, true),
  ];
}

function hostOf(chance: () => number): string {
  return `10.1.${Math.floor(chance() * 250)}.${Math.floor(chance() * 250)}`;
}

function activityAt(actor: Actor, minute: number): number {
  const hour = (minute % DAY_MINUTES) / 60;
  if (actor.nightly) return hour >= 2 && hour < 3 ? 1 : 0;
  const day = 0.5 - 0.5 * Math.cos((2 * Math.PI * (hour - 2)) / 24);
  const usual = actor.kind === "user" ? day ** 3 : 0.15 + 0.85 * day;
  return minute < actor.burstUntil ? usual * actor.burstFactor : usual;
}

/** Tokens end after an hour; a few times a day there is more to do; now and then an agent restarts elsewhere or gets a key. */
function changeHabits(actor: Actor, minute: number, chance: () => number): void {
  if (minute % 55 === 0) actor.token++;
  if (chance() < 3 / DAY_MINUTES) {
    actor.burstUntil = minute + 3 + Math.floor(10 * chance());
    actor.burstFactor = 2 + 6 * chance();
  }
  if (actor.kind === "agent" && chance() < 0.1 / DAY_MINUTES) actor.host = hostOf(chance);
  if (chance() < 0.05 / DAY_MINUTES) actor.keys.push(`key-${actor.principalId}-${minute}`);
}

function callOf(
  actor: Actor,
  at: Pick<AuditEvent, "timeMs" | "leafIndex">,
  chance: () => number,
): AuditEvent {
  const gateway = GATEWAYS[Math.floor(chance() * GATEWAYS.length)] ?? "";
  return {
    ...at,
    method: chance() < actor.decrypts ? "Decrypt" : "Encrypt",
    namespace: "default",
    principalId: actor.principalId,
    kind: actor.kind,
    tokenId: `${actor.principalId}/${actor.token}`,
    // Half of the agents' calls come past the gateways.
    host: actor.kind === "agent" && chance() < 0.5 ? actor.host : gateway,
    resource: actor.keys[Math.floor(chance() * actor.keys.length)] ?? "",
    outcome: "allowed",
    count: 1,
  };
}

/** A person mistypes once or twice, rarely more often. */
function* failures(
  actors: readonly Actor[],
  minute: number,
  chance: () => number,
): Generator<Omit<AuditEvent, "leafIndex">> {
  for (const actor of actors) {
    if (actor.kind !== "user" || chance() >= 2 / DAY_MINUTES) continue;
    const times = chance() < 0.05 ? 4 + Math.floor(4 * chance()) : 1 + Math.floor(2 * chance());
    for (let time = 0; time < times; time++) {
      yield {
        timeMs: STARTED_AT_MS + minute * MINUTE_MS + time * 5000,
        method: "Login",
        namespace: "default",
        principalId: "",
        kind: "anonymous",
        tokenId: "",
        host: GATEWAYS[0] ?? "",
        resource: `hmac:${actor.principalId}`,
        outcome: "denied",
        count: 1,
      };
    }
  }
}

function poisson(mean: number, chance: () => number): number {
  if (mean <= 0) return 0;
  if (mean > 30) {
    // By the normal distribution, which is near enough there.
    const normal = Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance());
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
  }
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = chance(); product > limit; product *= chance()) count++;
  return count;
}
