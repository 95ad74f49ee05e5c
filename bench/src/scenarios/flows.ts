/** What flows of messages have in common, ours and the peers': how much, how long, and which figures come out. */
import type { Bed } from "../bed/bed.ts";
import type { Figure, FlowName } from "../figure.ts";
import type { Flow } from "../load/flow.ts";
import type { Stretch } from "../pace.ts";
import { formatCount } from "../report.ts";
import { shortfall, windowOf } from "./scenario.ts";

/** One KiB as JSON, with its quotes. */
export const BODY_CHARS = 1_022;
export const bodySize = "1 KiB";

/** The fixed rate of the steady load. */
export const STEADY_PER_SECOND = 10_000;

/** The same for all. */
export const FLOW_STRETCH: Stretch = { warmUpMs: 2_000, measureMs: 8_000 };

/** Below what a receiver's queue holds, 1 000, and what its mailbox holds, 10 000. */
const EPHEMERAL_WINDOW = 900;
const DURABLE_WINDOW = 2_000;

/** Messages without an outcome, of all senders together. */
export function flowWindow(bed: Bed, durable: boolean): number {
  return windowOf(bed, durable ? DURABLE_WINDOW : EPHEMERAL_WINDOW);
}

/** Makes the figures of a flow: messages a second, and how long one sender's outcomes took. To many counts what receivers took. */
export function flowFigures(name: FlowName, flow: Flow, load: string): Figure[] {
  const { sentPerSecond, takenPerSecond } = flow;
  const toMany = name.includes("fanout");
  const [value, other] = toMany
    ? [takenPerSecond, `sent ${formatCount(sentPerSecond)}/s`]
    : [sentPerSecond, `taken in ${formatCount(takenPerSecond)}/s`];
  const fell = flow.rates.map((rate) => shortfall(rate)).join("");
  const described = `${load}; ${other}${fell}`;
  return [
    { key: `${name}_messages_per_second`, value, load: described },
    ...(["p50", "p95", "p99"] as const).map((quantile) => ({
      key: `${name}_message_${quantile}_ms` as const,
      value: flow[quantile],
      load: described,
    })),
  ];
}
