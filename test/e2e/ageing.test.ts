/** Connections have an age: streams end in order every few minutes, and what was under way on them goes on. */
import { createAgent, type RunningAgent } from "@nexus/sdk";
import { createSilentLogger, sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { expect, it } from "vitest";
import { startFleet, type TestFleet } from "./_fleet.ts";

/** Of every connection, the agents' to the gateway and the gateway's to the router: short, so that streams end all the time. */
const AGE_MS = "1500";
const REQUEST_MS = 400;
const ASKERS = 4;
/** Of a reply that outlasts every connection. */
const PARTS = 600;
const PART_MS = 10;
const TURNS_MIN = 6;

async function resumed({ stack }: TestFleet): Promise<number> {
  const { ops } = stack.info.services["mesh-router"] ?? {};
  const text = await (await fetch(`${ops}/metrics`)).text();
  const [, count = "0"] = /sessions_opened_total\{resumed="true"\} (\d+)/.exec(text) ?? [];
  return Number(count);
}

it("loses no message, request or reply when connections end for their age", async () => {
  await using fleet = await startFleet({
    env: () => ({
      NEXUS_GATEWAY_MAX_CONNECTION_AGE_MS: AGE_MS,
      NEXUS_MESH_ROUTER_MAX_CONNECTION_AGE_MS: AGE_MS,
    }),
  });
  const handled: string[] = [];
  const open = async (agentId: string): Promise<RunningAgent> => {
    const { clientSecret } = await fleet.createAgentIdentity(agentId);
    const { gateway } = fleet.stack.info;
    return createAgent({ agentId, clientSecret, gateway, logger: createSilentLogger() })
      .capability("age.nothing@1.0.0", {}, () => undefined)
      .onMessage("slow", async ({ body }) => {
        await sleep(REQUEST_MS);
        return body;
      })
      .onMessage("count", async function* count() {
        for (let part = 0; part < PARTS; part += 1) {
          yield part;
          await sleep(PART_MS);
        }
      })
      .onMessage("note", ({ body }) => void handled.push(String(body)))
      .start();
  };
  await using asker = await open("asker");
  await using _replier = await open("replier");

  let isOver = false;
  const answered: unknown[] = [];
  const failed: unknown[] = [];
  const ask = async (name: number): Promise<void> => {
    for (let count = 0; !isOver; count += 1) {
      const body = `${name}-${count}`;
      try {
        answered.push(await asker.request("replier", "slow", body));
        await asker.send("replier", "note", body);
      } catch (error) {
        failed.push(error);
      }
    }
  };
  const count = async (): Promise<number> => {
    let next = 0;
    for await (const part of asker.requestStream("replier", "count", 0)) {
      expect(part).toBe(next);
      next += 1;
    }
    return next;
  };
  const counting = count();
  const asking = Promise.all(Array.from({ length: ASKERS }, (_, name) => ask(name)));
  const before = await resumed(fleet);
  await waitFor(async () => (await resumed(fleet)) - before >= TURNS_MIN, {
    what: "streams to end for their age",
    timeoutMs: 60_000,
  });
  isOver = true;
  await asking;
  expect(await counting).toBe(PARTS);
  expect(failed).toEqual([]);
  expect(answered.length).toBeGreaterThan(ASKERS);
  expect(new Set(handled).size).toBe(handled.length);
  expect(handled.length).toBe(answered.length);
});
