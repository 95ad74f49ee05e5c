/** What the mesh carries when two pairs of agents say as much as they can. */
import type { AgentWorker, Bed } from "../bed/bed.ts";
import { formatValue } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

/** For each pair. Below what a receiver's queue holds, 1 000, and what its mailbox holds, 10 000. */
const EPHEMERAL_WINDOW = 900;
const DURABLE_WINDOW = 2_000;
const BODY_CHARS = 128;

/** Four agent processes: two speak, each to one of the others. */
export const meshScenario: Scenario = {
  name: "mesh",
  about: "ephemeral and durable messages a second, two pairs of agents at once",
  run: async (bed) => {
    const [ephemeral, durable] = [await measure(bed, false), await measure(bed, true)];
    return [
      { key: "mesh_ephemeral_per_second", value: ephemeral.perSecond, load: ephemeral.load },
      { key: "mesh_ephemeral_p95_ms", value: ephemeral.p95, load: ephemeral.load },
      { key: "mesh_durable_per_second", value: durable.perSecond, load: durable.load },
      { key: "mesh_durable_p95_ms", value: durable.p95, load: durable.load },
    ];
  },
};

async function measure(bed: Bed, durable: boolean) {
  const stretch = stretchOf(bed, { full: [2_000, 10_000], quick: [500, 1_000] });
  const inFlight = durable ? DURABLE_WINDOW : EPHEMERAL_WINDOW;
  const options = { ...stretch, bodyChars: BODY_CHARS, durable, inFlight };
  const rates = await Promise.all(
    (await pairsOf(bed)).map(([sender, receiver]) =>
      sender.call("sendSaturated", { ...options, to: receiver.agentId }),
    ),
  );
  const perSecond = rates.reduce((sum, rate) => sum + rate.perSecond, 0);
  const p95 = Math.max(...rates.map(({ latencyMs }) => latencyMs.p95));
  const fell = rates.map((rate) => shortfall(rate)).join("");
  const load = `two pairs, windows of ${inFlight} (p95 ${formatValue(p95)} ms), ${BODY_CHARS} characters, ${seconds(stretch.measureMs)}${fell}`;
  return { perSecond, p95, load };
}

async function pairsOf(bed: Bed): Promise<(readonly [AgentWorker, AgentWorker])[]> {
  const [a, b, c, d] = await bed.agents();
  if (a === undefined || b === undefined || c === undefined || d === undefined) {
    throw new Error("there are no four agents");
  }
  return [
    [a, b],
    [c, d],
  ];
}
