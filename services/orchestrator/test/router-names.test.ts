import { createRpcChannel } from "@nexus/rpc";
import { createSilentLogger } from "@nexus/shared";
import { createTestIdentity, waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DispatchClient } from "../src/clients/dispatch-client.ts";
import { FakeRouter } from "./_router.ts";

const identity = createTestIdentity();
/** An address of the same name where nobody listens. */
const ELSEWHERE = "127.0.0.2";
const HERE = "127.0.0.1";

describe("routers that are found by name", () => {
  const router = new FakeRouter(identity.verifier);
  let dispatch: DispatchClient;
  let named: string[];
  /** Addresses whose channels were closed. */
  let closed: string[];
  /** Addresses to which a stream was opened, as often as it was. */
  let opened: string[];
  let lost: string[];

  beforeEach(async () => {
    await router.listen();
    [named, closed, opened, lost] = [[HERE], [], [], []];
    dispatch = new DispatchClient({
      addresses: [`dns:///routers.example:${router.port}`],
      orchestratorId: "o",
      channel: (address) => {
        opened.push(address);
        const channel = createRpcChannel({ address });
        const close = () => {
          closed.push(address);
          channel.close();
        };
        return { ...channel, close };
      },
      tokens: identity.tokens({ sub: "orchestrator", kind: "service" }),
      logger: createSilentLogger(),
      lookUp: async () => named.map((address) => ({ address, family: 4 })),
    });
    dispatch.listen({
      onStreamOpened: () => undefined,
      onReport: () => undefined,
      onSnapshotComplete: () => undefined,
      onUpdate: () => undefined,
      onRefusal: () => undefined,
      onStreamLost: (address) => lost.push(address),
    });
    dispatch.open();
    await dispatch.refresh();
    await waitFor(isReached, { what: "the stream" });
  });
  afterEach(async () => {
    await dispatch.close();
    await router.close();
    expect(closed.sort()).toEqual(opened.sort());
  });

  const session = { namespace: "default", agentId: "a", epoch: 1n };
  const isReached = () =>
    dispatch.cancel(router.address, session, { taskId: "t", fence: 1n, reason: "LEASE_LOST" });

  it("keep their stream while they answer, though the name leaves them out", async () => {
    named = [ELSEWHERE];
    await dispatch.refresh();
    expect(isReached()).toBe(true);
    expect(lost).toEqual([]);
    expect(opened).toEqual([router.address, `${ELSEWHERE}:${router.port}`]);
  });

  it("are given up once the name leaves them out and their stream is down", async () => {
    await router.close();
    await waitFor(() => lost[0], { what: "the end of the stream" });
    named = [ELSEWHERE];
    await dispatch.refresh();
    expect(closed).toEqual([router.address]);
    named = [HERE];
    await dispatch.refresh();
    expect(opened.filter((address) => address === router.address)).toHaveLength(2);
  });
});
