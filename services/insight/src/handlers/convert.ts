/** Between the contract's messages and the domain's values. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { PerformanceSchema } from "@nexus/proto/insight";
import type { Latency, Performance } from "../domain/performance.ts";

const US_PER_S = 1_000_000;
const NS_PER_US = 1_000;

/** Writes a summary. */
export function fromPerformance(
  performance: Performance,
): Exclude<MessageInitShape<typeof PerformanceSchema>, { $unknown?: unknown[] }> {
  const { attempts, succeeded, failed, failuresByReason } = performance;
  const reasons = [...failuresByReason].map(([reason, count]) => [reason, BigInt(count)] as const);
  return {
    attempts: BigInt(attempts),
    succeeded: BigInt(succeeded),
    failed: BigInt(failed),
    successRate: attempts === 0 ? 0 : succeeded / attempts,
    queueTime: fromLatency(performance.queueTime),
    runTime: fromLatency(performance.runTime),
    failuresByReason: Object.fromEntries(reasons),
  };
}

function fromLatency(latency: Latency) {
  const parts = {
    mean: latency.meanUs,
    p50: latency.p50Us,
    p95: latency.p95Us,
    p99: latency.p99Us,
    max: latency.maxUs,
  };
  const measured = Object.entries(parts).flatMap(([name, us]) =>
    us === undefined ? [] : [[name, toDuration(us)] as const],
  );
  return { count: BigInt(latency.count), ...Object.fromEntries(measured) };
}

/** Reads a duration as milliseconds; the default when it is not set. */
export function durationOr(duration: Duration | undefined, defaultMs: number): number {
  const micros = fromDurationUs(duration);
  return micros === undefined ? defaultMs : micros / 1_000;
}

/** Reads a duration as microseconds; undefined when it is not set. */
export function fromDurationUs(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined;
  return Number(duration.seconds) * US_PER_S + Math.round(duration.nanos / NS_PER_US);
}

function toDuration(us: number) {
  const whole = Math.round(us);
  const seconds = Math.floor(whole / US_PER_S);
  return { seconds: BigInt(seconds), nanos: (whole - seconds * US_PER_S) * NS_PER_US };
}
