/** What the mesh carries, in every shape and class, beside what others carry of the same. */
import { randomUUID } from "node:crypto";
import type { AgentWorker, Bed } from "../bed/bed.ts";
import type { Figure } from "../figure.ts";
import { type Flow, measureFlow } from "../load/flow.ts";
import type { MessageTarget } from "../load/messages.ts";
import { LISTENER } from "../load/tasks.ts";
import { formatCount, formatValue } from "../report.ts";
import {
  BODY_CHARS,
  bodySize,
  FLOW_STRETCH,
  flowFigures,
  flowWindow,
  STEADY_PER_SECOND,
} from "./flows.ts";
import { MESSAGE_PEER_STEPS } from "./message-peers.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";
import { measureState } from "./state.ts";

/** Bodies of the two pairs, as they have been measured from the beginning. */
const PAIR_BODY_CHARS = 128;

/** One to one, one to all who subscribed, many to any one of a group, two pairs; a steady rate; shared state; the peers. */
export const meshScenario: Scenario = {
  name: "mesh",
  about:
    "messages of 1 KiB a second, ephemeral and durable, in three shapes, and state; beside the peers",
  run: (bed) => measureShape(bed, "ephemeral", direct, false),
  further: [
    (bed) => measureShape(bed, "durable", direct, true),
    (bed) => measureShape(bed, "fanout_ephemeral", fanout, false),
    (bed) => measureShape(bed, "fanout_durable", fanout, true),
    (bed) => measureShape(bed, "queue_ephemeral", queue, false),
    (bed) => measureShape(bed, "queue_durable", queue, true),
    (bed) => measureSteady(bed, "steady_ephemeral", false),
    (bed) => measureSteady(bed, "steady_durable", true),
    (bed) => measurePairs(bed, "ephemeral"),
    (bed) => measurePairs(bed, "durable"),
    measureState,
    ...MESSAGE_PEER_STEPS,
  ],
};

/** Who speaks to whom. */
interface Shape {
  readonly about: string;
  readonly senders: readonly (readonly [AgentWorker, MessageTarget])[];
  readonly receivers: readonly AgentWorker[];
  /** What the receivers follow meanwhile. */
  readonly topic?: string;
  /** True: each sender has a whole window, and not its share of one. */
  readonly wholeWindows?: true;
}

type Agents = readonly [AgentWorker, AgentWorker, AgentWorker, AgentWorker];

const direct = ([a, , c]: Agents): Shape => ({
  about: "one to one",
  senders: [[a, c.agentId]],
  receivers: [c],
});

const fanout = ([a, ...receivers]: Agents): Shape => {
  const topic = `bench.${randomUUID()}`;
  const to = { topic, receivers: receivers.length };
  return { about: `one to ${receivers.length} subscribers`, senders: [[a, to]], receivers, topic };
};

const queue = ([a, b, ...receivers]: Agents): Shape => ({
  about: `two to any one of ${receivers.length}`,
  senders: [
    [a, { capability: LISTENER }],
    [b, { capability: LISTENER }],
  ],
  receivers,
});

const pairs = ([a, b, c, d]: Agents): Shape => ({
  about: "two pairs",
  senders: [
    [a, b.agentId],
    [c, d.agentId],
  ],
  receivers: [b, d],
  wholeWindows: true,
});

async function measureShape(
  bed: Bed,
  name: Parameters<typeof flowFigures>[0],
  shapeOf: (agents: Agents) => Shape,
  durable: boolean,
): Promise<Figure[]> {
  const shape = shapeOf(await fourAgents(bed));
  const flow = await measureOurs(bed, shape, { durable, bodyChars: BODY_CHARS });
  return flowFigures(name, flow, describeShape(bed, shape, { durable, size: bodySize }));
}

async function measureOurs(
  bed: Bed,
  shape: Shape,
  { durable, bodyChars }: { readonly durable: boolean; readonly bodyChars: number },
): Promise<Flow> {
  const { senders, receivers, topic } = shape;
  const stretch = stretchOf(bed, FLOW_STRETCH);
  const inFlight = inFlightOf(bed, shape, durable);
  await bed.settle();
  const options = { ...stretch, bodyChars, durable, inFlight };
  const follow = async (one: AgentWorker) => {
    if (topic !== undefined) await one.call("followTopic", { topic, durable });
  };
  await Promise.all(receivers.map(follow));
  return measureFlow(stretch, {
    senders: senders.map(
      ([sender, to]) =>
        () =>
          sender.call("sendSaturated", { ...options, to }),
    ),
    takers: receivers.map((one) => () => one.call("takenIn", null)),
  });
}

/** For each sender. */
function inFlightOf(bed: Bed, { senders, wholeWindows }: Shape, durable: boolean): number {
  const window = flowWindow(bed, durable);
  return wholeWindows === true ? window : window / senders.length;
}

function describeShape(
  bed: Bed,
  shape: Shape,
  { durable, size }: { readonly durable: boolean; readonly size: string },
): string {
  const { measureMs } = stretchOf(bed, FLOW_STRETCH);
  const window = formatCount(inFlightOf(bed, shape, durable));
  return `${shape.about}, ${shape.senders.length === 1 ? "a window" : "windows"} of ${window}, ${size}, ${seconds(measureMs)}`;
}

async function measureSteady(
  bed: Bed,
  name: "steady_ephemeral" | "steady_durable",
  durable: boolean,
): Promise<Figure[]> {
  const [a, , c] = await fourAgents(bed);
  await bed.settle();
  const stretch = stretchOf(bed, FLOW_STRETCH);
  const { latencyMs, result } = await a.call("sendSteadily", {
    ...{ ...stretch, bodyChars: BODY_CHARS, durable, to: c.agentId },
    ...{ what: "note" as const, perSecond: STEADY_PER_SECOND },
  });
  const load = `one to one, ${formatCount(STEADY_PER_SECOND)} messages/s, ${bodySize}, ${seconds(stretch.measureMs)}${shortfall(result)}`;
  return (["p50", "p95", "p99"] as const).map((quantile) => ({
    key: `${name}_message_${quantile}_ms` as const,
    value: latencyMs[quantile],
    load,
  }));
}

/** Two pairs at once, each with a whole window. */
async function measurePairs(bed: Bed, what: "ephemeral" | "durable"): Promise<Figure[]> {
  const durable = what === "durable";
  const shape = pairs(await fourAgents(bed));
  const flow = await measureOurs(bed, shape, { durable, bodyChars: PAIR_BODY_CHARS });
  const size = `${PAIR_BODY_CHARS} characters`;
  const fell = flow.rates.map((rate) => shortfall(rate)).join("");
  const load = `${describeShape(bed, shape, { durable, size })} (p95 ${formatValue(flow.p95)} ms)${fell}`;
  return [
    { key: `mesh_${what}_per_second`, value: flow.sentPerSecond, load },
    { key: `mesh_${what}_p95_ms`, value: flow.p95, load },
  ];
}

async function fourAgents(bed: Bed): Promise<Agents> {
  const [a, b, c, d] = await bed.agents();
  if (a === undefined || b === undefined || c === undefined || d === undefined) {
    throw new Error("there are no four agents");
  }
  return [a, b, c, d];
}
