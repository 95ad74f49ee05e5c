/** What the commands on shared state print, with which code they end, and what they refuse. */
import { waitFor } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import type { CommandStack } from "./_stack.ts";

/** Tests them on a stack of the caller's, which is there when they run. */
export function testStateCommands(stack: () => CommandStack): void {
  const nexus = (...argv: string[]) => stack().nexus(...argv);

  describe("shared state", () => {
    it("is kept in buckets, shown, changed and deleted by commands", async () => {
      const made = await nexus("state", "create", "plans", "--policy", "cas", "--keys", "5");
      expect(made).toMatchObject({ code: 0, stdout: "Made the bucket plans.\n" });
      const put = await nexus("state", "put", "plans", "today", '{"steps":1}', "--expect", "0");
      expect(put.stdout).toMatch(/^applied today, revision \d+\n$/);
      expect((await nexus("state", "get", "plans", "today")).stdout).toBe('{"steps":1}\n');
      const lost = await nexus("state", "put", "plans", "today", "2", "--expect", "0");
      expect(lost.stderr).toContain("STATE_REVISION_MISMATCH");
      expect((await nexus("state", "list", "plans")).stdout).toMatch(
        /^today .* admin .*\{"steps":1\}$/m,
      );
      expect((await nexus("state", "buckets")).stdout).toMatch(/^plans +cas +\d+ +1\/5 /m);
      const listed = JSON.parse((await nexus("state", "list", "plans", "-o", "json")).stdout);
      expect(listed).toMatchObject({ entries: [{ key: "today", versions: [{}] }] });
      const revision = listed.entries[0].revision as string;
      const gone = await nexus(
        "state",
        "delete",
        "plans",
        "today",
        "--expect",
        revision,
        "-o",
        "json",
      );
      expect(JSON.parse(gone.stdout)).toMatchObject({ status: "STATE_WRITE_STATUS_APPLIED" });
      expect((await nexus("state", "drop", "plans")).stdout).toBe("Deleted plans.\n");
      expect((await nexus("state", "list", "plans")).stderr).toContain("STATE_BUCKET_NOT_FOUND");
      expect((await nexus("state", "create", "x", "--policy", "best")).code).toBe(2);
      const small = await nexus("state", "create", "small", "--bytes", "100");
      expect([small.code, small.stderr]).toEqual([2, expect.stringContaining("from 1024 on")]);
    });

    it("counts, and follows changes until interrupted", async () => {
      await nexus("state", "create", "tokens", "--policy", "counter");
      expect((await nexus("state", "increment", "tokens", "used", "5")).stdout).toBe("5\n");
      const interrupted = new AbortController();
      const watching = stack().follow(interrupted.signal, ["state", "watch", "tokens"]);
      const shows = (text: string) =>
        waitFor(() => watching.stdout().includes(text), { what: `the watch to show ${text}` });
      await shows("used  5");
      expect(await stack().admin.bucket("tokens").increment("used", -2)).toBe(3n);
      await shows("used  3  admin");
      const lines = stack().follow(interrupted.signal, ["state", "watch", "tokens", "-o", "json"]);
      await waitFor(() => lines.stdout().endsWith("\n"), { what: "the keys as JSON" });
      for (const line of lines.stdout().trim().split("\n")) {
        expect(JSON.parse(line)).toHaveProperty("entries");
      }
      interrupted.abort();
      expect(await watching.outcome).toMatchObject({ code: 0, stderr: "" });
    });

    it("keeps both values of agents that did not know of each other, until somebody resolves", async () => {
      await nexus("state", "create", "notes", "--policy", "vector");
      const writer = await stack().agent("writer-1");
      const running = await writer
        .capability("note.write@1.0.0", {}, async (ctx, text) => {
          const { versions } = await ctx.state.bucket("notes").put("k", text);
          return versions;
        })
        .start();
      const tasks = ["one", "two"].map((text) => ({
        key: text,
        capability: "note.write",
        input: text,
      }));
      await stack().submit(tasks);
      const notes = running.state.bucket<string>("notes");
      for await (const event of notes.watch()) {
        if ("entry" in event && event.entry.versions.length === 2) break;
      }
      const { stdout } = await nexus("state", "conflicts", "notes");
      expect(stdout).toMatch(/^k +\d+ +writer-1 +task_\S+ .*(one|two)$/m);
      const [version] = (await notes.get("k"))?.versions ?? [];
      const resolved = await nexus("state", "resolve", "notes", "k", "--keep", String(version?.id));
      expect(resolved.stdout).toMatch(/^applied k, revision \d+\n$/);
      expect((await notes.get("k"))?.versions.map(({ value }) => value)).toEqual([version?.value]);
      expect((await nexus("state", "conflicts", "notes", "-o", "name")).stdout).toBe("");
      await running.drain(0);
    });
  });
}
