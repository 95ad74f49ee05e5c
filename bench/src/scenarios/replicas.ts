/** How soon a write of shared state is seen on another mesh-router. */
import { randomUUID } from "node:crypto";
import { findRedisServer, type StackInfo } from "@nexus/devkit";
import type { Bed } from "../bed/bed.ts";
import type { Figure } from "../figure.ts";
import { formatCount } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";
import { unseen, WATCH_PATIENCE_MS } from "./state.ts";

const PUTS_PER_SECOND = 1_000;
const KEYS = 5_000;
const VALUE_CHARS = 128;

/** One writes at one mesh-router; one watches there, one at the other. All three reach their mesh-router by themselves: the gateway would
 * give each call to another one. */
export const replicasScenario: Scenario = {
  name: "replicas",
  about: "two mesh-routers: how soon a watcher on the other one sees a write of shared state",
  meshRouters: 2,
  obstacle: () =>
    findRedisServer() === undefined
      ? "no Redis between mesh-routers (install redis-server or valkey-server)"
      : undefined,
  keys: ["state_watch_here_p95_ms", "state_watch_elsewhere_p50_ms", "state_watch_elsewhere_p95_ms"],
  run: measureWatchers,
};

async function measureWatchers(bed: Bed): Promise<Figure[]> {
  const [writer, near, far] = await bed.agents();
  if (writer === undefined || near === undefined || far === undefined) {
    throw new Error("there are no three agents");
  }
  const [here, elsewhere] = placesOf(bed.info);
  const token = await bed.adminToken();
  await writer.call("useMeshRouter", { address: here, token });
  await near.call("useMeshRouter", { address: here, token });
  await far.call("useMeshRouter", { address: elsewhere, token });
  const bucket = `bench-${randomUUID()}`;
  await (await bed.client()).call("createStateBucket", bucket);
  for (const watcher of [near, far]) await watcher.call("watchState", bucket);
  const stretch = stretchOf(bed, { warmUpMs: 2_000, measureMs: 10_000 });
  const options = { ...stretch, bucket, keys: KEYS, valueChars: VALUE_CHARS };
  const { result } = await writer.call("putSteadily", { ...options, perSecond: PUTS_PER_SECOND });
  const end = { expected: result.done, patienceMs: WATCH_PATIENCE_MS };
  const seenHere = await near.call("endWatch", end);
  const seenElsewhere = await far.call("endWatch", end);
  const load = `${formatCount(PUTS_PER_SECOND)} puts/s at one of two mesh-routers, ${VALUE_CHARS} characters, ${seconds(stretch.measureMs)}${shortfall(result)}`;
  const there = `${load}${unseen(result.done, seenElsewhere)}`;
  return [
    {
      key: "state_watch_here_p95_ms",
      value: seenHere.p95,
      load: `${load}${unseen(result.done, seenHere)}`,
    },
    { key: "state_watch_elsewhere_p50_ms", value: seenElsewhere.p50, load: there },
    { key: "state_watch_elsewhere_p95_ms", value: seenElsewhere.p95, load: there },
  ];
}

function placesOf({ services }: StackInfo): [string, string] {
  const other = services["mesh-router-2"];
  if (other === undefined) throw new Error("there is one mesh-router only");
  return [services["mesh-router"].grpc, other.grpc];
}
