/** Connections go silent without being closed, as when a firewall forgets them: one orchestrator's to the database, its stream to the router,
 * the gateway's to it, and, if there is time, an agent's to the gateway. */
import { JobState } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { type BedAgent, LIVENESS_MS, PROXIED, readMetric } from "./_bed.ts";
import type { Campaign } from "./_campaign.ts";
import { playUnderAppends, type UnderAppends } from "./_under-appends.ts";

const STREAMS = "nexus_orchestrator_dispatch_streams";

/** Answers that the others must give while one is cut off. */
const ANSWERS_MEANWHILE = 10;
/** In which services notice, on a busy machine too; by default they would not. */
const NOTICED_MAX_MS = 15_000;
/** Calls at once, of which the silent one gets its share, and the deadline of each: sooner than silence is noticed. */
const CALLS = 9;
const CALL_MS = 1_000;
/** An agent notices after the SDK's 20 s, which a short run has not. */
const LONG_MS = 60_000;
const AGENT_NOTICES_MS = 20_000;
/** The machine may be very busy. */
const LATE_MAX_MS = 10_000;
const FAR = { agentId: "far-1", capability: "work.far", taskMs: 1_000 } as const;

/** The campaign. */
export const halfOpen: Campaign = {
  name: "half-open",
  about:
    "connections go silent, of an orchestrator to its database and router, of the gateway to it, of agents: the others go on",
  shortMs: 5_000,
  play: (bed, options) =>
    playUnderAppends(bed, options, {
      during: async (under) => {
        const counts: Record<string, number> = {};
        const note = (what: string, value: number) => {
          const isWorst = what.startsWith("slowest");
          counts[what] = isWorst ? Math.max(counts[what] ?? 0, value) : (counts[what] ?? 0) + value;
          options.progress(`${what}: ${value}`);
        };
        const isLong = options.durationMs >= LONG_MS;
        const far = isLong ? await startFarAgent(under) : undefined;
        do {
          await silenceDatabase(under, note);
          await silenceRouter(under, note);
          await silenceFromGateway(under, note);
          if (far !== undefined) await silenceAgent(under, far, note);
        } while (!under.signal.aborted);
        far?.child.kill("SIGKILL");
        return counts;
      },
      minimums: {
        "silent databases": 1,
        "silent routers": 1,
        "silent from the gateway": 1,
        "calls ended by their deadline": 1,
        ...(options.durationMs >= LONG_MS ? { "silent agents": 1 } : {}),
      },
    }),
};

type Note = (what: string, value: number) => void;

/** Silence, until it is put out and the others have gone on without it; then a proxy that works. */
async function silenceDatabase({ bed, load }: UnderAppends, note: Note): Promise<void> {
  const silentAtMs = performance.now();
  bed.proxy.silence();
  await bed.untilOwning(PROXIED, false);
  note("slowest putting out, ms", since(silentAtMs));
  await untilAnswers(load, "the other orchestrators to go on");
  const replacedAtMs = performance.now();
  bed.proxy.replace();
  await bed.untilOwning(PROXIED, true);
  note("slowest return, ms", since(replacedAtMs));
  note("silent databases", 1);
}

/** Silence on the stream on which its assignments go and its agents' words come, until it has noticed and the others have gone on; what it
 * gave out meanwhile is given out again, or every job would not end. */
async function silenceRouter({ bed, load }: UnderAppends, note: Note): Promise<void> {
  const untilStreams = (count: number, what: string, timeoutMs = LIVENESS_MS) =>
    waitFor(async () => (await readMetric(bed, PROXIED, STREAMS)) === count, { timeoutMs, what });
  await untilStreams(1, "a stream to the router");
  const silentAtMs = performance.now();
  bed.routerProxy.silence();
  await untilStreams(0, "the silent stream to be given up", NOTICED_MAX_MS);
  note("slowest to give up its router, ms", since(silentAtMs));
  await untilAnswers(load, "jobs to be taken in all the same");
  bed.routerProxy.replace();
  await untilStreams(1, "the stream to be back");
  note("silent routers", 1);
}

/** Silence between the gateway and the orchestrator: calls that go there end at their deadline, and once it is noticed none goes there any
 * more. Then new connections get through, while the one that was begun meanwhile stays forgotten. */
async function silenceFromGateway(under: UnderAppends, note: Note): Promise<void> {
  const { gatewayProxy } = under.bed;
  const untilConnected = () =>
    waitFor(
      async () => {
        await callAll(under);
        return gatewayProxy.connected > 0;
      },
      { timeoutMs: LIVENESS_MS, what: "the gateway to be connected" },
    );
  await untilConnected();
  const silentAtMs = performance.now();
  gatewayProxy.silence();
  const failed = (await callAll(under)).filter((error) => error !== undefined);
  // By the notice they would end as UNAVAILABLE.
  const inTime = failed.filter((error) => NexusError.is(error, "deadline", "DEADLINE_EXCEEDED"));
  note("calls ended by their deadline", inTime.length);
  await waitFor(async () => (await callAll(under)).every((error) => error === undefined), {
    timeoutMs: NOTICED_MAX_MS,
    what: "calls to go to the other orchestrators only",
  });
  note("slowest to go elsewhere, ms", since(silentAtMs));
  gatewayProxy.speak();
  await untilConnected();
  note("silent from the gateway", 1);
}

/** What calls without side effects, at once, fail with. */
function callAll({ client }: UnderAppends): Promise<unknown[]> {
  const one = async (): Promise<unknown> => {
    try {
      await client.jobs.listJobs({ page: { pageSize: 1 } }, { timeoutMs: CALL_MS });
      return undefined;
    } catch (error) {
      return error;
    }
  };
  return Promise.all(Array.from({ length: CALLS }, one));
}

function startFarAgent({ bed }: UnderAppends): Promise<BedAgent> {
  const gateway = `127.0.0.1:${bed.edgeProxy.port}`;
  return bed.spawn(FAR.agentId, 1, { capability: FAR.capability, gateway });
}

/** Silence between an agent, who alone can do a task and is at it, and the gateway: the agent is lost, notices, comes back, and does it. */
async function silenceAgent({ bed, client }: UnderAppends, far: BedAgent, note: Note) {
  const task = { key: "far", capability: FAR.capability, input: { ms: FAR.taskMs } };
  const begun = far.words.length;
  const jobId = await submitTasks(client, [task]);
  await waitFor(() => far.words.length > begun, { timeoutMs: LIVENESS_MS, what: "the far task" });
  const silentAtMs = performance.now();
  bed.edgeProxy.silence();
  bed.edgeProxy.speak();
  await waitFor(() => bed.edgeProxy.unaware === 0, {
    timeoutMs: AGENT_NOTICES_MS + LATE_MAX_MS,
    what: "an agent to notice that nothing gets through",
  });
  note("slowest agent to notice, ms", since(silentAtMs));
  const { state } = await waitForEnd(client, jobId, LIVENESS_MS);
  if (state !== JobState.COMPLETED) throw new Error(`the far job ended ${JobState[state]}`);
  note("silent agents", 1);
}

async function untilAnswers(load: UnderAppends["load"], what: string): Promise<void> {
  const { answers } = load;
  await waitFor(() => load.answers >= answers + ANSWERS_MEANWHILE, {
    timeoutMs: LIVENESS_MS,
    what,
  });
}

function since(atMs: number): number {
  return Math.round(performance.now() - atMs);
}
