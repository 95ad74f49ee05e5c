/** What it costs that a great many agents are connected and idle. */
import { setTimeout as wait } from "node:timers/promises";
import { MiB } from "@nexus/shared";
import type { Bed, ClientWorker } from "../bed/bed.ts";
import { readUsages, type Usage } from "../bed/metrics.ts";
import type { Figure } from "../figure.ts";
import { formatCount } from "../report.ts";
import { type Scenario, seconds } from "./scenario.ts";

const SESSIONS_FULL = 10_000;
const SESSIONS_QUICK = 50;
const IDLE_MS = 30_000;
const IDLE_QUICK_MS = 500;
const IN_FLIGHT = 32;
/** More than the usual: docs/performance.md says how many sessions that takes. */
const HEAP_MIB = 768;
const CARRIERS = ["mesh-router", "gateway"] as const;

/** Each session is an agent of its own, through the gateway. */
export const sessionsScenario: Scenario = {
  name: "sessions",
  about: `memory and CPU of ${formatCount(SESSIONS_FULL)} idle sessions of one mesh-router (${SESSIONS_QUICK} in a quick run)`,
  heapMib: HEAP_MIB,
  run: async (bed) => {
    const sessions = bed.quick ? SESSIONS_QUICK : SESSIONS_FULL;
    const client = await bed.client();
    bed.progress(`sessions: making and connecting ${formatCount(sessions)} agents`);
    const options = { gateway: bed.info.gateway, sessions, inFlight: IN_FLIGHT };
    try {
      const perSecond = await client.call("openSessions", options);
      return await measureIdling(bed, client, { sessions, perSecond });
    } finally {
      await client.call("closeSessions", null);
    }
  },
};

async function measureIdling(
  bed: Bed,
  client: ClientWorker,
  { sessions, perSecond }: { readonly sessions: number; readonly perSecond: number },
): Promise<Figure[]> {
  await bed.settle();
  const before = await readUsages(bed.info);
  const idleMs = bed.quick ? IDLE_QUICK_MS : IDLE_MS;
  await wait(idleMs);
  const after = await readUsages(bed.info);
  const { alive, failure } = await client.call("countSessions", null);
  const over = sessions - alive;
  const lost = over === 0 ? "" : `; ${formatCount(over)} NOT THERE, first: ${failure ?? "?"}`;
  const load = `${formatCount(sessions)} agents through the gateway, ${seconds(idleMs)} of heartbeats${lost}`;
  return toFigures({ alive, perSecond, idleMs, before, after, load });
}

interface Idling {
  readonly alive: number;
  readonly perSecond: number;
  readonly idleMs: number;
  readonly before: ReadonlyMap<string, Usage>;
  readonly after: ReadonlyMap<string, Usage>;
  readonly load: string;
}

function toFigures({ alive, perSecond, idleMs, before, after, load }: Idling): Figure[] {
  const mib = (service: string) => (after.get(service)?.residentBytes ?? 0) / MiB;
  const cpuSeconds = (usages: ReadonlyMap<string, Usage>) =>
    CARRIERS.reduce((sum, service) => sum + (usages.get(service)?.cpuSeconds ?? 0), 0);
  const cpuMicros = (cpuSeconds(after) - cpuSeconds(before)) * 1e6;
  return [
    { key: "idle_sessions", value: alive, load },
    { key: "idle_sessions_opened_per_second", value: perSecond, load: `${IN_FLIGHT} in flight` },
    { key: "idle_sessions_router_mib", value: mib("mesh-router"), load },
    { key: "idle_sessions_gateway_mib", value: mib("gateway"), load },
    { key: "idle_session_cpu_us", value: cpuMicros / alive / (idleMs / 1_000), load },
  ];
}
