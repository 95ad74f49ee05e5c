/** What the commands on messages print, with which code they end, and what they refuse. */
import { type RunningAgent, TaskError } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import type { CommandStack } from "./_stack.ts";

const REVIEWER = "reviewer-1";

/** Tests them on a stack of the caller's, which is there when they run. */
export function testMeshCommands(stack: () => CommandStack): void {
  const nexus = (...argv: string[]) => stack().nexus(...argv);

  describe("messages", () => {
    let reviewer: RunningAgent;
    let isRefusing = true;

    beforeAll(async () => {
      const builder = await stack().agent(REVIEWER);
      reviewer = await builder
        .capability("review.words@1.0.0", {}, () => "")
        .onMessage("count", ({ body }) => ({ words: String(body).split(" ").length }))
        .onMessage("bytes", () => new Uint8Array([0x6f, 0x6b]))
        .onMessage("file", () => {
          if (isRefusing) throw new TaskError({ reason: "NO_DRAWER", message: "No such drawer." });
        })
        .onMessage("stream", async function* () {
          yield "one";
          yield "two";
        })
        .start();
      return () => reviewer.drain(0);
    }, 60_000);

    it("are sent to whoever has a session, and say what became of them", async () => {
      const routes = await nexus("mesh", "routes", "-o", "name");
      expect(routes.stdout.split("\n")).toContain(REVIEWER);
      const sent = await nexus("mesh", "send", '{"a":1}', "--to", REVIEWER, "--subject", "count");
      expect(sent).toMatchObject({ code: 0, stdout: "delivered\n" });
      const nobody = await nexus("mesh", "send", "text", "--to", "nobody-at-all");
      expect([nobody.code, nobody.stdout]).toEqual([7, expect.stringMatching(/no.such.agent/)]);
      expect(await nexus("mesh", "send", "text")).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("Give one of --to, --capability, --topic, --everyone."),
      });
    });

    it("are stored once under an id, for as long as they are said to be worth it", async () => {
      const to = ["--to", REVIEWER, "--subject", "count", "--durable"];
      const send = (...argv: string[]) => nexus("mesh", "send", ...argv, ...to);
      expect((await send("x", "--message-id", "note-1")).stdout).toBe("queued, position 1\n");
      expect((await send("x", "--message-id", "note-1")).stdout).toBe("queued, stored before\n");
      expect(await send("y", "--message-id", "note-1")).toMatchObject({
        code: 7,
        stdout: expect.stringContaining("MESSAGE_ID_REUSED"),
      });
      expect((await send("z", "--ttl", "1s", "--ack-wait", "5s")).code).toBe(0);
      const long = await send("z", "--ttl", "30d");
      expect([long.code, long.stderr]).toEqual([2, expect.stringContaining("ttl")]);
      expect((await send("z", "--ttl", "soon")).code).toBe(2);
    });

    it("ask, and print the reply", async () => {
      const ask = (...argv: string[]) => nexus("mesh", "call", "three short words", ...argv);
      expect(await ask("--to", REVIEWER, "--subject", "count")).toMatchObject({
        code: 0,
        stdout: '{"words":3}\n',
      });
      const any = await ask("--capability", "review.words", "--subject", "count", "-o", "json");
      expect(JSON.parse(any.stdout)).toMatchObject({
        outcome: { outcome: "DELIVERY_OUTCOME_DELIVERED" },
      });
      expect((await ask("--to", REVIEWER, "--subject", "bytes")).stdout).toBe("ok");
    });

    it("say why there is no reply, on standard error", async () => {
      const ask = (...argv: string[]) => nexus("mesh", "call", "x", ...argv);
      const parts = await ask("--to", REVIEWER, "--subject", "stream");
      expect(parts).toMatchObject({ code: 7, stdout: "" });
      expect(parts.stderr).toContain("PARTS_NOT_TAKEN");
      expect(await ask("--to", "nobody-at-all")).toMatchObject({ code: 7, stdout: "" });
      expect(await ask()).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("Give one of --to, --capability."),
      });
    });

    it("to topics are shown as they are published, until interrupted", async () => {
      const interrupted = new AbortController();
      const tail = stack().follow(interrupted.signal, ["mesh", "tail", "greetings.*"]);
      const lines = stack().follow(interrupted.signal, ["mesh", "tail", "-o", "json"]);
      // The watch says nothing when it begins, so the first one that it sees is waited for.
      await waitFor(
        async () => {
          await nexus("mesh", "send", '{"hello":1}', "--topic", "greetings.first");
          const isShown = tail.stdout().includes('greetings.first  admin  {"hello":1}');
          return isShown && lines.stdout().endsWith("\n");
        },
        { what: "the tail to show what was published" },
      );
      const [first = ""] = lines.stdout().split("\n");
      expect(JSON.parse(first)).toMatchObject({ messages: [{ topic: "greetings.first" }] });
      interrupted.abort();
      expect(await tail.outcome).toMatchObject({ code: 0, stderr: "" });
    });

    it("that were given up are listed, shown, redelivered and purged", async () => {
      const sent = await nexus(
        ...["mesh", "send", "to the archive", "--to", REVIEWER, "--subject", "file", "--durable"],
      );
      expect(sent.stdout).toMatch(/^queued/);
      const letters = (...argv: string[]) =>
        nexus("mesh", "dead-letters", ...argv, "--to", REVIEWER);
      await waitFor(async () => (await letters("list", "-o", "name")).stdout !== "", {
        what: "the message to be given up",
      });
      const [id = ""] = (await letters("list", "-o", "name")).stdout.trim().split("\n");
      const shown = await nexus("mesh", "dead-letters", "get", id);
      expect(shown.stdout).toContain("No such drawer.");
      expect(shown.stdout).toContain("to the archive");
      isRefusing = false;
      expect((await letters("redeliver")).stdout).toBe(`${id}\n`);
      expect((await letters("list", "-o", "name")).stdout).toBe("");
      expect((await letters("list", "--redelivered", "-o", "name")).stdout).toBe(`${id}\n`);
      expect((await letters("purge")).stdout).toMatch(/^[01]\n$/);
      expect((await nexus("mesh", "dead-letters", "purge")).code).toBe(2);
      expect((await nexus("mesh", "dead-letters", "get", "999999")).code).toBe(3);
    });
  });
}
