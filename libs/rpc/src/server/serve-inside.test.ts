import { create } from "@bufbuild/protobuf";
import { BatchGetEntriesResponseSchema, StateService } from "@nexus/proto/mesh";
import { createSilentLogger, type Logger, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { CallContext } from "../call-context.ts";
import type { Principal } from "../principal.ts";
import { decode, encode } from "../wire/codec.ts";
import { serveInside } from "./serve-inside.ts";

const { batchGetEntries, createBucket } = StateService.method;
const TRACE = "0af7651916cd43dd8448eb211c80319c";

function streamOf(scopes: readonly string[]): CallContext {
  const principal = { principalId: "a", namespace: "n", kind: "agent", scopes } as Principal;
  return { service: "mesh-router", principal } as unknown as CallContext;
}

function callOf(keys: readonly string[]) {
  return {
    request: encode(batchGetEntries.input, { bucket: "b", keys: [...keys] }),
    traceparent: `00-${TRACE}-b7ad6b7169203331-01`,
    deadlineAtMs: Date.now() + 60_000,
  };
}

const logger = createSilentLogger();

/** A logger that keeps the lines of finished calls. */
function keepingLogger() {
  const lines: Record<string, unknown>[] = [];
  const write = (line: Record<string, unknown>): number => lines.push(line);
  const child = { debug: write, info: write };
  return { lines, logger: { isLevelEnabled: () => true, child: () => child } as unknown as Logger };
}

describe("serveInside", () => {
  it("hands the request to the method's handler, in the name of the stream's principal", async () => {
    const seen: unknown[] = [];
    const call = callOf(["k"]);
    const serve = serveInside(
      batchGetEntries,
      ({ keys }, ctx) => {
        seen.push(keys, ctx.principal?.principalId, ctx.deadlineAtMs, ctx.method.name);
        seen.push(ctx.metadata.get("traceparent")?.includes(TRACE));
        return create(BatchGetEntriesResponseSchema, { unreadKeys: ["k"] });
      },
      logger,
    );
    const bytes = await serve(streamOf(["mesh:state:read"]), call).answer;
    expect(decode(batchGetEntries.output, bytes).unreadKeys).toEqual(["k"]);
    expect(seen).toEqual([["k"], "a", call.deadlineAtMs, "BatchGetEntries", true]);
  });

  it("refuses what lacks the scope or breaks a rule before the handler sees it, and logs that", async () => {
    const { lines, logger: keeping } = keepingLogger();
    const serve = serveInside(
      batchGetEntries,
      () => {
        throw new Error("reached");
      },
      keeping,
    );
    const reasonOf = (scope: string, call = callOf(["k"])) =>
      serve(streamOf([scope]), call).answer.then(
        () => "none",
        (error: unknown) => NexusError.from(error).reason,
      );
    const torn = { ...callOf(["k"]), request: Buffer.from([0xff]) };
    const reasons = [
      await reasonOf("mesh:state:write"),
      await reasonOf("mesh:state:read", callOf([])),
      await reasonOf("mesh:state:read", torn),
    ];
    expect(reasons).toEqual(["SCOPE_MISSING", "REQUEST_INVALID", "REQUEST_MALFORMED"]);
    expect(lines.map(({ reason }) => reason)).toEqual(reasons);
  });

  it("shows a fixed text of what is no error of ours", async () => {
    const fail = () => {
      throw new Error("secret");
    };
    const { answer } = serveInside(
      batchGetEntries,
      fail,
      logger,
    )(streamOf(["mesh:state:read"]), callOf(["k"]));
    const error = await answer.catch(NexusError.from);
    expect(error).toMatchObject({ kind: "internal" });
    expect(String(error)).not.toContain("secret");
  });

  it("answers when it is ended, and says when the handler has ended", async () => {
    let finish: () => void = () => undefined;
    let signal: AbortSignal | undefined;
    const serve = serveInside(
      batchGetEntries,
      async (_, ctx) => {
        signal = ctx.signal;
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return {};
      },
      logger,
    );
    const { answer, ended, end } = serve(streamOf(["mesh:state:read"]), callOf(["k"]));
    let over = false;
    void ended.then(() => {
      over = true;
    });
    end(new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "enough" }));
    await expect(answer).rejects.toMatchObject({ reason: "CANCELLED" });
    expect([signal?.aborted, over]).toEqual([true, false]);
    finish();
    await ended;
  });

  it("ends with the deadline of the call", async () => {
    const serve = serveInside(batchGetEntries, () => new Promise<never>(() => undefined), logger);
    const call = { ...callOf(["k"]), deadlineAtMs: Date.now() + 1 };
    const { answer } = serve(streamOf(["mesh:state:read"]), call);
    await expect(answer).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  });

  it("takes no method that leaves an entry in the audit log", () => {
    expect(() => serveInside(createBucket, () => ({}), logger)).toThrow("needs a call of its own");
  });
});
