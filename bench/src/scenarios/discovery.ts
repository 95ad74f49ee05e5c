/** How fast the right agent is found among many. */
import { QUESTIONS } from "../load/discovery.ts";
import { formatCount } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

const AGENTS_FULL = 10_000;
const AGENTS_QUICK = 400;
const REGISTRATIONS_IN_FLIGHT = 64;
const PER_SECOND = 100;

/** Registers agents, then asks for them through the gateway at a steady rate. */
export const discoveryScenario: Scenario = {
  name: "discovery",
  about: `finding agents among ${AGENTS_FULL} registered ones (${AGENTS_QUICK} in a quick run)`,
  run: async (bed) => {
    const stretch = stretchOf(bed, { warmUpMs: 1_000, measureMs: 10_000 });
    const client = await bed.client();
    const agents = bed.quick ? AGENTS_QUICK : AGENTS_FULL;
    bed.progress(`discovery: registering ${agents} agents`);
    const perSecond = await client.call("registerAgents", {
      agents,
      inFlight: REGISTRATIONS_IN_FLIGHT,
    });
    const found = await client.call("discoverSteadily", { ...stretch, perSecond: PER_SECOND });
    const among = `${formatCount(agents)} agents, ${seconds(stretch.measureMs)}${shortfall(found.result)}`;
    const load = `${PER_SECOND} questions/s of ${QUESTIONS.length} kinds, ${among}`;
    const { byQuestionMs, latencyMs } = found;
    return [
      {
        key: "registrations_per_second",
        value: perSecond,
        load: `${REGISTRATIONS_IN_FLIGHT} in flight, each committed, ${formatCount(agents)} in all`,
      },
      { key: "discovery_p50_ms", value: latencyMs.p50, load },
      { key: "discovery_p95_ms", value: latencyMs.p95, load },
      { key: "discovery_p99_ms", value: latencyMs.p99, load },
      {
        key: "discovery_rare_p95_ms",
        value: byQuestionMs.rare.p95,
        load: "same load; 1 agent in 100 matches, best 20 returned",
      },
      {
        key: "discovery_common_p95_ms",
        value: byQuestionMs.common.p95,
        load: "same load; 8 agents in 10 match, best 20 returned",
      },
      {
        key: "discovery_text_p95_ms",
        value: byQuestionMs.text.p95,
        load: "same load; 1 agent in 20 matches, best 20 returned",
      },
    ];
  },
};
