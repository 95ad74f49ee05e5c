/** What two agents can say to each other, and how fast. */
import type { Bed } from "../bed/bed.ts";
import { formatCount, formatValue } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

const WINDOW = 512;
const BODY_CHARS = 128;
const NOTES_PER_SECOND = 5_000;
const REQUESTS_PER_SECOND = 1_000;

/** Two agent processes: one speaks, the other takes in and answers. */
export const messagesScenario: Scenario = {
  name: "messages",
  about:
    "messages a second between two agents, each with its outcome; latency of sends and requests",
  run: async (bed) => {
    const stretch = stretchOf(bed, { warmUpMs: 1_000, measureMs: 10_000 });
    const [sender, receiver] = await twoAgents(bed);
    const common = { ...stretch, to: receiver.agentId, bodyChars: BODY_CHARS, durable: false };
    const rate = await sender.call("sendSaturated", { ...common, inFlight: WINDOW });
    const notes = await sender.call("sendSteadily", {
      ...common,
      what: "note",
      perSecond: NOTES_PER_SECOND,
    });
    const requests = await sender.call("sendSteadily", {
      ...common,
      what: "request",
      perSecond: REQUESTS_PER_SECOND,
    });
    const pair = `two agents, ${BODY_CHARS} characters, ${seconds(stretch.measureMs)}`;
    const noteLoad = `${formatCount(NOTES_PER_SECOND)} messages/s, ${pair}${shortfall(notes.result)}`;
    const requestLoad = `${formatCount(REQUESTS_PER_SECOND)} requests/s, ${pair}${shortfall(requests.result)}`;
    return [
      {
        key: "messages_per_second",
        value: rate.perSecond,
        load: `window of ${WINDOW} (p95 ${formatValue(rate.latencyMs.p95)} ms), ${pair}${shortfall(rate)}`,
      },
      { key: "message_p50_ms", value: notes.latencyMs.p50, load: noteLoad },
      { key: "message_p95_ms", value: notes.latencyMs.p95, load: noteLoad },
      { key: "message_p99_ms", value: notes.latencyMs.p99, load: noteLoad },
      { key: "request_p50_ms", value: requests.latencyMs.p50, load: requestLoad },
      { key: "request_p95_ms", value: requests.latencyMs.p95, load: requestLoad },
      { key: "request_p99_ms", value: requests.latencyMs.p99, load: requestLoad },
    ];
  },
};

async function twoAgents(bed: Bed) {
  const [sender, receiver] = await bed.agents();
  if (sender === undefined || receiver === undefined) throw new Error("there are no two agents");
  return [sender, receiver] as const;
}
