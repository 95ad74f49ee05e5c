import { AgentSessionService } from "@nexus/proto/mesh";
import { createAsyncQueue, NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { type CallContext, createRpcClient } from "../src/index.ts";
import { sessionHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";
import { aborted, drainAll, until } from "./_wait.ts";

const rigs: Rig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close();
});

/** A server whose session answers `reauth` frames and otherwise stays open. */
async function openSession(token: (rig: Rig) => string) {
  let context: CallContext | undefined;
  const handlers = sessionHandlers(async function* (requests, ctx) {
    context = ctx;
    yield { welcome: { sessionId: ctx.principal?.tokenId ?? "" } };
    for await (const { reauth } of requests) {
      if (reauth === undefined) continue;
      const outcome = await ctx.reauthenticate(reauth.accessToken).then(
        (principal) => principal.tokenId,
        (error: unknown) => NexusError.from(error).reason,
      );
      yield { welcome: { sessionId: outcome } };
    }
    await aborted(ctx.signal);
  });
  const rig = await startRig((server) => server.add(AgentSessionService, handlers));
  rigs.push(rig);
  const requests = createAsyncQueue<object>({ max: 8 });
  const client = createRpcClient(AgentSessionService, rig.channel);
  const stream = client.connect(requests, { token: token(rig) });
  const responses = stream[Symbol.asyncIterator]();
  await responses.next();
  return {
    rig,
    context: () => context,
    async reauth(accessToken: string) {
      requests.push({ reauth: { accessToken } });
      return (await responses.next()).value?.welcome?.sessionId;
    },
    rest: () => drainAll({ [Symbol.asyncIterator]: () => responses }),
  };
}

/** Long enough to be replaced in time on a busy machine. */
const OLD_LIFE_MS = 1_500;

describe("a stream and its token", () => {
  it("end together when the token expires", async () => {
    const session = await openSession((rig) => rig.verifier.token("ann", ["*"], 1_000));
    const { error } = await session.rest();
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_EXPIRED" });
    expect(session.context()?.signal.reason).toMatchObject({ reason: "TOKEN_EXPIRED" });
    await until("the verifier to be released", () => session.rig.verifier.listening === 0);
  });

  it("end together when the token is revoked", async () => {
    let token = "";
    const session = await openSession((rig) => (token = rig.verifier.token("ann")));
    session.rig.verifier.revoke(token);
    const { error } = await session.rest();
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_REVOKED" });
    expect(session.rig.verifier.listening).toBe(0);
  });

  it("part when a fresh token takes the old one's place", async () => {
    let old = "";
    const session = await openSession(
      (rig) => (old = rig.verifier.token("ann", ["*"], OLD_LIFE_MS)),
    );
    const fresh = session.rig.verifier.token("ann");
    expect(await session.reauth(fresh)).toBe(fresh);
    session.rig.verifier.revoke(old);
    await new Promise((resolve) => setTimeout(resolve, OLD_LIFE_MS + 100));
    const { context } = session;
    expect(context()?.signal.aborted).toBe(false);
    expect(context()?.token).toBe(fresh);
    expect(context()?.principal?.tokenId).toBe(fresh);
    session.rig.verifier.revoke(fresh);
    expect((await session.rest()).error).toMatchObject({ reason: "TOKEN_REVOKED" });
  });

  it("stay together when the other token is somebody else's, lacks the scope or is forged", async () => {
    let old = "";
    const session = await openSession((rig) => (old = rig.verifier.token("ann")));
    const { verifier } = session.rig;
    expect(await session.reauth(verifier.token("bob"))).toBe("PRINCIPAL_MISMATCH");
    expect(await session.reauth(verifier.token("ann", ["vault:*:*"]))).toBe("SCOPE_MISSING");
    expect(await session.reauth("forged")).toBe("TOKEN_INVALID");
    expect(session.context()?.token).toBe(old);
    verifier.revoke(old);
    expect((await session.rest()).error).toMatchObject({ reason: "TOKEN_REVOKED" });
  });
});
