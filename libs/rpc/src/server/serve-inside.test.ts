import { create } from "@bufbuild/protobuf";
import { BatchGetEntriesResponseSchema, StateService } from "@nexus/proto/mesh";
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
    deadlineAtMs: 5,
    signal: new AbortController().signal,
  };
}

describe("serveInside", () => {
  it("hands the request to the method's handler, in the name of the stream's principal", async () => {
    const seen: unknown[] = [];
    const serve = serveInside(batchGetEntries, ({ keys }, ctx) => {
      seen.push(keys, ctx.principal?.principalId, ctx.deadlineAtMs, ctx.method.name);
      seen.push(ctx.metadata.get("traceparent")?.includes(TRACE));
      return create(BatchGetEntriesResponseSchema, { unreadKeys: ["k"] });
    });
    const bytes = await serve(streamOf(["mesh:state:read"]), callOf(["k"]));
    expect(decode(batchGetEntries.output, bytes).unreadKeys).toEqual(["k"]);
    expect(seen).toEqual([["k"], "a", 5, "BatchGetEntries", true]);
  });

  it("refuses what lacks the scope or breaks a rule before the handler sees it", async () => {
    const serve = serveInside(batchGetEntries, () => {
      throw new Error("reached");
    });
    const write = streamOf(["mesh:state:write"]);
    await expect(serve(write, callOf(["k"]))).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    const read = streamOf(["mesh:state:read"]);
    await expect(serve(read, callOf([]))).rejects.toMatchObject({ reason: "REQUEST_INVALID" });
    const torn = { ...callOf(["k"]), request: Buffer.from([0xff]) };
    await expect(serve(read, torn)).rejects.toMatchObject({ reason: "REQUEST_MALFORMED" });
  });

  it("takes no method that leaves an entry in the audit log", () => {
    expect(() => serveInside(createBucket, () => ({}))).toThrow("needs a call of its own");
  });
});
