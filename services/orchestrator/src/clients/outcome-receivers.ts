/** Registry and insight as receivers of outcomes. */
import type { DescMethod } from "@bufbuild/protobuf";
import { MetricsService } from "@nexus/proto/insight";
import { OutcomeService } from "@nexus/proto/registry";
import { methodPath, type RpcChannel, rawUnary, type TokenSource, WireWriter } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { OutcomeReceiver } from "../domain/outcome.ts";
import { tryExpandGroup } from "./outcome-expander.ts";

/** A receiver that takes longer is asked again; what it counted meanwhile it leaves out. */
const CALL_TIMEOUT_MS = 10_000;

/** Field numbers that both requests have. */
const STREAM = 1;
const GROUPS = 2;

/** What a receiver needs. */
export interface ReceiverOptions {
  readonly channel: RpcChannel;
  readonly tokens: TokenSource;
}

/** Reports outcomes to the registry, which makes reputations of them. */
export function createRegistryReceiver(options: ReceiverOptions): OutcomeReceiver {
  return createReceiver("registry", OutcomeService.method.reportOutcomes, options);
}

/** Records outcomes in insight, which makes samples of them. */
export function createInsightReceiver(options: ReceiverOptions): OutcomeReceiver {
  return createReceiver("insight", MetricsService.method.recordOutcomes, options);
}

/** Sends groups as they are stored. A call is not repeated here: the loop that makes it does that. */
function createReceiver(
  name: string,
  method: DescMethod,
  { channel, tokens }: ReceiverOptions,
): OutcomeReceiver {
  const writer = new WireWriter();
  const path = methodPath(method);
  const call = async (stream: string, groups: readonly Uint8Array[], signal: AbortSignal) => {
    const request = writeRequest(writer, stream, groups);
    await rawUnary(channel, path, request, { tokens, signal, timeoutMs: CALL_TIMEOUT_MS });
  };
  return {
    name,
    async send(stream, groups, signal) {
      const told = groups.map(({ data }) => data);
      try {
        await call(stream, told, signal);
      } catch (error) {
        // A group that is refused by itself may have been told to a receiver that knows no tables.
        const isAlone = NexusError.is(error, "invalid") && told.length === 1;
        const older = isAlone ? tryExpandGroup(told[0] as Buffer) : undefined;
        if (older === undefined) throw error;
        await call(stream, [older], signal);
      }
    },
  };
}

/** A repeated field is its elements, one after the other. */
function writeRequest(writer: WireWriter, stream: string, groups: readonly Uint8Array[]): Buffer {
  writer.text(STREAM, stream);
  for (const group of groups) writer.bytes(GROUPS, group);
  return writer.take();
}
