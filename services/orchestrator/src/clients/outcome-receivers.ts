/** Registry and insight as receivers of outcomes. */
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { MetricsService } from "@nexus/proto/insight";
import { OutcomeService } from "@nexus/proto/registry";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import type { Outcome, OutcomeReceiver } from "../domain/outcome.ts";

const REASON_MAX_CHARS = 128;

/** What a receiver needs. */
export interface ReceiverOptions {
  readonly channel: RpcChannel;
  readonly tokens: TokenSource;
}

function elapsed(from: Date, to: Date) {
  return durationFromMs(Math.max(0, to.getTime() - from.getTime()));
}

/** Reports outcomes to the registry, which makes reputations of them. */
export function createRegistryReceiver({ channel, tokens }: ReceiverOptions): OutcomeReceiver {
  const client = createRpcClient(OutcomeService, channel, { tokens });
  return {
    name: "registry",
    async send(outcomes, signal) {
      await client.reportOutcomes({ outcomes: outcomes.map(toWireOutcome) }, { signal });
    },
  };
}

function toWireOutcome(outcome: Outcome) {
  const { namespace, agentId, capability, taskId, fence, success, startedAt, endedAt } = outcome;
  return {
    namespace,
    agentId,
    capability,
    taskId,
    fence,
    success,
    reason: outcome.reason.slice(0, REASON_MAX_CHARS),
    ...(startedAt === undefined ? {} : { runTime: elapsed(startedAt, endedAt) }),
    endTime: timestampFromDate(endedAt),
  };
}

/** Records a sample for each outcome in insight. */
export function createInsightReceiver({ channel, tokens }: ReceiverOptions): OutcomeReceiver {
  const client = createRpcClient(MetricsService, channel, { tokens });
  return {
    name: "insight",
    async send(outcomes, signal) {
      await client.recordSamples({ samples: outcomes.map(toSample) }, { signal });
    },
  };
}

function toSample(outcome: Outcome) {
  const { taskId, fence, readyAt, leasedAt, endedAt } = outcome;
  const { jobId, capability, agentId, attempt, success } = outcome;
  return {
    sampleId: `${taskId}:${fence}`,
    namespace: outcome.namespace,
    time: timestampFromDate(endedAt),
    measurement: {
      case: "task" as const,
      value: {
        jobId,
        taskId,
        capability,
        agentId,
        attempt,
        success,
        reason: outcome.reason.slice(0, REASON_MAX_CHARS),
        queueTime: elapsed(readyAt, leasedAt),
        runTime: elapsed(leasedAt, endedAt),
      },
    },
  };
}
