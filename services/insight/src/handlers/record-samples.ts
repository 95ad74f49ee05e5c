import type { MetricsService } from "@nexus/proto/insight";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { assertStorable, namespaceOf } from "../domain/task-sample.ts";
import { toTaskSample } from "./convert.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of MetricsService.RecordSamples. */
export function recordSamples({
  collector,
  clock,
}: HandlerDeps): MethodImplementation<typeof MetricsService.method.recordSamples> {
  return async (request, ctx) => {
    const caller = requirePrincipal(ctx);
    const nowMs = clock.nowMs();
    const samples = request.samples.map((sample, index) => {
      const converted = toTaskSample(sample, namespaceOf(sample.namespace, caller));
      assertStorable(converted, nowMs, index);
      return converted;
    });
    return { stored: await collector.record(samples) };
  };
}
