/** What others carry of the same messages on the same machine, in the same run, while NEXUS has nothing to do. */
import process from "node:process";
import type { Bed } from "../bed/bed.ts";
import { openNats, whyNoNats } from "../bed/nats.ts";
import type { PeerServer } from "../bed/peer-server.ts";
import { openRedis, whyNoRedis } from "../bed/redis.ts";
import type { Figure, PeerFlowName, SteadyPeerName } from "../figure.ts";
import type { MessageLatency } from "../load/messages.ts";
import {
  type MeasuredPeer,
  measureMessagePeer,
  type PeerShape,
} from "../peers/measure-messages.ts";
import { formatCount } from "../report.ts";
import {
  BODY_CHARS,
  bodySize,
  FLOW_STRETCH,
  flowFigures,
  flowWindow,
  STEADY_PER_SECOND,
} from "./flows.ts";
import { type Step, seconds, shortfall, stretchOf } from "./scenario.ts";

const DIRECT: PeerShape = { about: "one to one", senders: 1, receivers: ["a"] };
const FANOUT: PeerShape = { about: "one to 3 groups", senders: 1, receivers: ["a", "b", "c"] };
const QUEUE: PeerShape = { about: "two to any one of 2", senders: 2, receivers: ["a", "a"] };

/** A peer with its server. */
interface Peer {
  readonly program: string;
  readonly durable: boolean;
  /** Says why its server cannot be had; undefined when it can. */
  readonly whyNot: () => string | undefined;
  readonly open: (dataDir: string) => Promise<PeerServer>;
  readonly flows: readonly (readonly [PeerFlowName, PeerShape])[];
}

const nats = (sync: "default" | "always") => ({
  whyNot: () => whyNoNats(sync),
  open: (dataDir: string) => openNats(dataDir, sync),
});

const redis = (fsync: "everysec" | "always") => ({
  whyNot: () => whyNoRedis(fsync),
  open: (dataDir: string) => openRedis(dataDir, fsync),
});

const PEERS: readonly Peer[] = [
  {
    program: "jetstream",
    durable: true,
    ...nats("default"),
    flows: [
      ["jetstream", DIRECT],
      ["jetstream_fanout", FANOUT],
      ["jetstream_queue", QUEUE],
    ],
  },
  { program: "jetstream", durable: true, ...nats("always"), flows: [["jetstream_always", DIRECT]] },
  {
    program: "nats-request",
    durable: false,
    ...nats("default"),
    flows: [
      ["nats_request", DIRECT],
      ["nats_request_queue", QUEUE],
    ],
  },
  {
    program: "redis-streams",
    durable: true,
    ...redis("everysec"),
    flows: [
      ["redis_streams", DIRECT],
      ["redis_streams_fanout", FANOUT],
      ["redis_streams_queue", QUEUE],
    ],
  },
  {
    program: "redis-streams",
    durable: true,
    ...redis("always"),
    flows: [["redis_streams_always", DIRECT]],
  },
];

/** Every message peer in every shape it has. None in a quick run: they are no part of NEXUS. */
export const MESSAGE_PEER_STEPS: readonly Step[] = PEERS.map(
  (peer) => (bed) => (bed.quick ? Promise.resolve([]) : measurePeer(bed, peer)),
);

async function measurePeer(bed: Bed, peer: Peer): Promise<Figure[]> {
  const missing = peer.whyNot();
  if (missing !== undefined) {
    bed.progress(`peer ${peer.program}: not measured: ${missing}`);
    const load = `not measured: ${missing}`;
    return peer.flows.map(([name]) => ({
      key: `${name}_messages_per_second` as const,
      value: null,
      load,
    }));
  }
  const server = await peer.open(bed.info.dataDir);
  try {
    const figures: Figure[] = [];
    for (const [name, shape] of peer.flows) {
      await bed.settle();
      bed.progress(`peer ${peer.program}, ${shape.about}; ${server.about}`);
      const place = { url: server.url, name: `nexus-bench-${name}-${process.pid}` };
      const { flow, steady } = await measure(bed, { ...peer, shape, place });
      figures.push(...flowFigures(name, flow, describe(bed, { ...peer, shape }, server.about)));
      if (steady !== undefined) figures.push(steadyFigure(name as SteadyPeerName, steady));
    }
    return figures;
  } finally {
    await server.stop();
  }
}

interface Measured extends Peer {
  readonly shape: PeerShape;
  readonly place: { readonly url: string; readonly name: string };
}

function measure(bed: Bed, { program, durable, shape, place }: Measured): Promise<MeasuredPeer> {
  const { profileDir } = bed;
  const inFlight = flowWindow(bed, durable) / shape.senders;
  const load = { ...stretchOf(bed, FLOW_STRETCH), bodyChars: BODY_CHARS, inFlight };
  const steadyPerSecond = shape === DIRECT ? STEADY_PER_SECOND : undefined;
  return measureMessagePeer({ program, shape, place, load, steadyPerSecond, profileDir });
}

function steadyFigure(name: SteadyPeerName, { latencyMs, result }: MessageLatency): Figure {
  const load = `one to one, ${formatCount(STEADY_PER_SECOND)} messages/s, ${bodySize}${shortfall(result)}`;
  return { key: `steady_${name}_message_p95_ms`, value: latencyMs.p95, load };
}

function describe(
  bed: Bed,
  { durable, shape }: Pick<Measured, "durable" | "shape">,
  server: string,
): string {
  const { measureMs } = stretchOf(bed, FLOW_STRETCH);
  const window = formatCount(flowWindow(bed, durable) / shape.senders);
  return `${shape.about}, ${shape.senders === 1 ? "a window" : "windows"} of ${window}, ${bodySize}, ${seconds(measureMs)}; ${server}`;
}
