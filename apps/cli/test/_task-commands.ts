/** What the commands on tasks and dead letters print, with which code they end, and what they refuse. */
import { create } from "@bufbuild/protobuf";
import { PayloadSchema } from "@nexus/proto/common";
import { fetchPayload, fromPayload, TaskError } from "@nexus/sdk";
import { beforeAll, describe, expect, it } from "vitest";
import type { CommandStack } from "./_stack.ts";

/** Tests them on a stack of the caller's, which is there when they run. */
export function testTaskCommands(stack: () => CommandStack): void {
  const nexus = (...argv: string[]) => stack().nexus(...argv);

  describe("the nexus command on tasks", () => {
    const MOOD = "work.moody";
    let good: string;
    let bad: string;
    /** Turns the agent's mood, so that what failed succeeds when it is run again. */
    let cheerful = false;

    beforeAll(async () => {
      const builder = await stack().agent("moody-1");
      const moody = await builder
        .capability<{ fail: boolean }>(`${MOOD}@1.0.0`, {}, (ctx, { fail }) => {
          ctx.stream("do re mi");
          if (fail && !cheerful) throw new TaskError({ reason: "MOOD", message: "Not today." });
          return "sung";
        })
        .start();
      const jobId = await stack().submit([
        { key: "good", capability: MOOD, input: { fail: false } },
        { key: "bad", capability: MOOD, input: { fail: true } },
      ]);
      expect((await nexus("jobs", "watch", jobId)).code).toBe(7);
      const { tasks } = await stack().admin.jobs.listTasks({ jobId });
      const idOf = (key: string) => tasks.find(({ spec }) => spec?.key === key)?.taskId ?? "";
      good = idOf("good");
      bad = idOf("bad");
      return () => moody.drain(0);
    });

    it("finds tasks across jobs by what they need, how they stand, and when they came", async () => {
      const found = async (...flags: string[]) => {
        const { stdout } = await nexus(
          "tasks",
          "list",
          "-o",
          "name",
          "--capability",
          MOOD,
          ...flags,
        );
        return stdout.split("\n").filter((line) => line !== "");
      };
      expect((await found("--since", "1h")).sort()).toEqual([bad, good].sort());
      expect(await found("--state", "succeeded", "--agent", "moody-1")).toEqual([good]);
      expect(await found("--reason", "MOOD")).toEqual([bad]);
      expect(await found("--until", "1h")).toEqual([]);
      const { stdout } = await nexus("tasks", "list", "--reason", "MOOD");
      expect(stdout).toMatch(new RegExp(`^bad +failed +${MOOD} +moody-1 +1 .* MOOD +${bad}$`, "m"));
      expect((await nexus("tasks", "list", "--state", "nonsense")).code).toBe(2);
      expect((await nexus("tasks", "list", "--since", "yesterday")).stderr).toContain("--since is");
    });

    it("shows a task and what came out of it, and ends with 3 for one that is not there", async () => {
      const shown = await nexus("tasks", "get", good);
      expect(shown.stdout).toMatch(new RegExp(`^good +succeeded +${MOOD} +1 +moody-1 `, "m"));
      expect(shown.stdout).toMatch(/^sung$/m);
      expect((await nexus("tasks", "get", bad)).stdout).toMatch(/^MOOD: Not today\.$/m);
      const json = await nexus("tasks", "get", bad, "-o", "json");
      expect(JSON.parse(json.stdout)).toMatchObject({
        task: { state: "TASK_STATE_FAILED", failure: { reason: "MOOD" } },
      });
      expect((await nexus("tasks", "get", "task_missing")).code).toBe(3);
    });

    it("prints what a task put out and nothing else, and ends with 7 when it failed", async () => {
      const sung = await nexus("tasks", "watch", good);
      expect(sung).toMatchObject({ code: 0, stdout: "do re mi" });
      expect(sung.stderr).toContain("succeeded on moody-1");
      const failed = await nexus("tasks", "watch", bad);
      expect(failed.code).toBe(7);
      expect(failed.stderr).toContain("failed on moody-1: MOOD Not today.");
    });

    it("stores inputs when the tasks together are too large for a message", async () => {
      const input = (n: number) => String(n).padEnd(200_000, "x");
      const tasks = Array.from({ length: 30 }, (_, n) => ({
        key: `t${n}`,
        capability: "work.never",
        input: input(n),
      }));
      const jobId = await stack().submit(tasks);
      const { tasks: stored } = await stack().admin.jobs.listTasks({ jobId });
      expect(stored).toHaveLength(30);
      const inputs = await Promise.all(
        stored.map(async ({ taskId, spec }) => {
          const { task } = await stack().admin.jobs.getTask({ taskId });
          const payload = await fetchPayload(
            stack().admin.payloads,
            task?.spec?.input ?? create(PayloadSchema),
          );
          return [spec?.key, fromPayload(payload)];
        }),
      );
      expect(Object.fromEntries(inputs)).toEqual(
        Object.fromEntries(tasks.map((task) => [task.key, task.input])),
      );
      await nexus("jobs", "cancel", jobId);
    });

    it("lists what failed for good, by filter", async () => {
      const { stdout } = await nexus("dead-letters", "list", "--capability", MOOD);
      expect(stdout).toMatch(new RegExp(`^${bad} +bad +${MOOD} +MOOD +moody-1 +1 .* -$`, "m"));
      const named = await nexus("dead-letters", "list", "-o", "name", "--since", "1h");
      expect(named.stdout).toBe(`${bad}\n`);
      expect((await nexus("dead-letters", "list", "-o", "name", "--before", "1h")).stdout).toBe("");
      expect((await nexus("dead-letters", "list", "--before", "soon")).code).toBe(2);
    });

    it("refuses a redrive that does not say of what, says it twice, or is too large", async () => {
      const filter = ["--capability", MOOD];
      for (const flags of [[], ["--task", bad, "--all"], ["--task", bad, ...filter]]) {
        const { code, stderr } = await nexus("dead-letters", "redrive", ...flags);
        expect(code).toBe(2);
        expect(stderr).toContain("Give one of --task, --all");
      }
      const large = await nexus("dead-letters", "redrive", ...filter, "--limit", "101");
      expect(large).toMatchObject({ code: 2, stdout: "" });
      expect((await nexus("dead-letters", "redrive", "--task", "task_missing")).code).toBe(3);
    });

    it("runs what failed again, once, and says so when it is asked again", async () => {
      cheerful = true;
      const filter = ["--capability", MOOD, "--reason", "MOOD"];
      const first = await nexus("dead-letters", "redrive", ...filter, "-o", "name");
      expect(first.code).toBe(0);
      const jobId = first.stdout.trim();
      expect((await nexus("jobs", "watch", jobId)).code).toBe(0);
      expect((await stack().admin.jobs.getJob({ jobId })).job?.tasks?.succeeded).toBe(1);
      const again = await nexus("dead-letters", "redrive", "--task", bad);
      expect(again.stdout).toMatch(new RegExp(`^${bad} +${jobId} +before$`, "m"));
      expect((await nexus("dead-letters", "list", "-o", "name", ...filter)).stdout).toBe("");
      const all = await nexus("dead-letters", "list", "--redriven", ...filter);
      expect(all.stdout).toMatch(new RegExp(`^${bad} .* ${jobId}$`, "m"));
    });
  });
}
