/** What the methods that write share: from a request to a call, and from its result to an answer. */
import { createHash } from "node:crypto";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { StateTask, StateWriteResultSchema } from "@nexus/proto/mesh";
import { type CallContext, encodeMessage, type Principal, requirePrincipal } from "@nexus/rpc";
import { toError } from "../../domain/state/refusals.ts";
import { CURRENT_BYTES_MAX } from "../../domain/state/state-limits.ts";
import type { CallResult, Op, Precondition } from "../../domain/state/write.ts";
import { fromResult } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** What every request that writes has. */
interface WriteRequest {
  readonly requestId: string;
  readonly bucket: string;
  readonly task?: StateTask | undefined;
}

/** What a method asks for. */
export interface Asked<Desc extends DescMessage> {
  readonly schema: Desc;
  readonly request: MessageShape<Desc> & WriteRequest;
  readonly ops: readonly Op[];
  readonly preconditions?: readonly Precondition[];
  readonly atomic?: boolean;
}

/** Results of a call that was carried out. */
export type Done = Extract<CallResult, { kind: "done" }>;

const KEY_DIGITS = 32;
const SEPARATOR = "\u0000";
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-/;

/** Checks the task, then commits.
 *
 * Errors: those of the fence and of the queue; what refused the call as a whole, with its place in the request. */
export async function commitWrites<Desc extends DescMessage>(
  { fence, queue }: StateDeps,
  ctx: CallContext,
  { schema, request, ops, preconditions = [], atomic = false }: Asked<Desc>,
): Promise<Done> {
  const principal = requirePrincipal(ctx);
  const { bucket, task, requestId } = request;
  const { namespace, principalId } = principal;
  if (task !== undefined) {
    const { taskId, fence: held } = task;
    await fence.assertHolds({ namespace, agentId: principalId, taskId, fence: held });
  }
  const result = await queue.write({
    namespace,
    bucket,
    name: {
      key: callKey(principal, requestId),
      bodyHash: hashOf(encodeMessage(schema, request as MessageInitShape<Desc>)),
    },
    writer: {
      principalId,
      taskId: task?.taskId ?? "",
      fence: task?.fence ?? 0n,
      traceId: TRACEPARENT.exec(ctx.metadata.get("traceparent") ?? "")?.[1] ?? "",
    },
    preconditions,
    ops,
    atomic,
    isGivenUp: () => ctx.signal.aborted,
  });
  if (result.kind === "done") return result;
  const { refusal, at } = result;
  throw toError(refusal, at === undefined ? undefined : { [at.part]: String(at.index) });
}

/** Commits one write. Errors: also what refused it. */
export async function commitWrite<Desc extends DescMessage>(
  deps: StateDeps,
  ctx: CallContext,
  asked: Omit<Asked<Desc>, "ops"> & { readonly op: Op },
): Promise<{ readonly result: MessageInitShape<typeof StateWriteResultSchema> }> {
  const done = await commitWrites(deps, ctx, { ...asked, ops: [asked.op] });
  const refusal = done.results[0]?.refusal;
  if (refusal !== undefined) {
    const current = done.results[0]?.current;
    throw toError(refusal, current && { revision: String(current.revision) });
  }
  const [result = {}] = fromResults(done, [asked.op]);
  return { result };
}

/** Writes results; what is stored is shown as long as there is room. */
export function fromResults(
  { rules, results }: Done,
  ops: readonly Op[],
): MessageInitShape<typeof StateWriteResultSchema>[] {
  let bytes = 0;
  return results.map((result, at) => {
    bytes += result.current?.sizeBytes ?? 0;
    return fromResult(result, (ops[at] as Op).key, rules, bytes <= CURRENT_BYTES_MAX);
  });
}

/** Names a request of a caller: 128 bits of a hash, as hexadecimal digits. The bucket is another column. */
export function callKey({ principalId }: Principal, requestId: string): string {
  const name = principalId + SEPARATOR + requestId;
  return createHash("sha256").update(name).digest("hex").slice(0, KEY_DIGITS);
}

/** 64 bits of a hash of a request. Whoever finds two with one hash has fooled only itself. */
export function hashOf(bytes: Uint8Array): bigint {
  return createHash("sha256").update(bytes).digest().readBigInt64BE(0);
}
