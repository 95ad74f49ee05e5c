/** Every command against a real stack: what it prints, with which code it ends, and what it refuses. */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TaskError } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CommandStack, type Outcome } from "./_stack.ts";

let stack: CommandStack;
let home: string;
let login: Outcome;
const nexus = (...argv: string[]): Promise<Outcome> => stack.nexus(...argv);
const nexusWith = (input: string, ...argv: string[]) => stack.nexusWith(input, ...argv);

beforeAll(async () => {
  stack = await CommandStack.start();
  home = stack.home;
  login = await nexus("login", "--credentials-file", stack.stack.info.adminCredentialsFile);
  const echo = await stack.agent("echo-1");
  const running = await echo.capability("work.echo@1.0.0", {}, (_ctx, input) => input).start();
  return () => running.drain(0);
}, 120_000);

afterAll(() => stack[Symbol.asyncDispose](), 60_000);

/** Submits tasks and says the job's id. */
async function submit(tasks: readonly object[]): Promise<string> {
  const { stdout } = await nexus("jobs", "submit", "--tasks", JSON.stringify(tasks));
  return stdout.trim();
}

describe("the nexus command", () => {
  it("logs in with the credentials file and keeps the tokens private", async () => {
    expect(login).toMatchObject({ code: 0, stdout: expect.stringContaining("Logged in") });
    expect(statSync(join(home, "profile.json")).mode & 0o777).toBe(0o600);
    expect((await nexus("whoami")).stdout).toContain("admin in namespace default");
  });

  it("shows every service as serving", async () => {
    const { code, stdout } = await nexus("status");
    expect(code).toBe(0);
    for (const name of ["gateway", "insight", "mesh-router", "orchestrator", "registry", "vault"]) {
      expect(stdout).toMatch(new RegExp(`^${name} +serving`, "m"));
    }
    expect(stdout).toMatch(/^availability +99\.9 % +\d+ +0 +100 % +0\.0 +0\.0$/m);
    expect(stdout).toMatch(/^latency +99 % +\d+ /m);
  });

  it("gives roles and policies, says what they allow, and takes tokens back", async () => {
    expect((await nexus("roles", "put", "reader", "--scope", "vault:secret:*")).code).toBe(0);
    expect((await nexus("principals", "create", "ruled-1", "--kind", "agent")).code).toBe(0);
    const assigned = await nexus("roles", "assign", "ruled-1", "--role", "reader");
    expect(assigned.stdout).toContain("Roles of ruled-1: reader");
    expect((await nexus("roles", "list")).stdout).toMatch(/^reader .*vault:secret:\*/m);
    const file = join(home, "policy.json");
    const statements = [
      { effect: "EFFECT_DENY", actions: ["vault:secret:read"], resources: ["prod/*"] },
    ];
    writeFileSync(file, JSON.stringify({ statements, roles: ["reader"] }));
    const put = await nexus("policies", "put", "no-prod", "--file", file);
    expect(put.stdout).toContain("no-prod for role:reader: deny vault:secret:read on prod/*");
    expect((await nexus("policies", "list")).stdout).toContain("no-prod");
    const check = (path: string) =>
      nexus("policies", "check", "ruled-1", "vault:secret:read", path);
    expect((await check("prod/db")).stdout).toBe("no: denied by no-prod\n");
    expect((await check("test/db")).stdout).toBe("yes: allowed\n");
    const revoked = await nexus("tokens", "revoke", "--principal", "ruled-1");
    expect(revoked.stdout).toContain("Revoked at");
    expect((await nexus("tokens", "revoke")).code).toBe(2);
    expect((await nexus("policies", "delete", "no-prod")).code).toBe(0);
    await nexus("roles", "assign", "ruled-1");
    expect((await nexus("roles", "delete", "reader")).code).toBe(0);
  });

  it("submits tasks, waits for them and explains the routing", async () => {
    const tasks = JSON.stringify([{ key: "only", capability: "work.echo", input: { n: 1 } }]);
    const { code, stdout } = await nexus("jobs", "submit", "--tasks", tasks, "--wait");
    expect(code).toBe(0);
    expect(stdout).toContain("job completed");
    const jobId = stdout.split("\n")[0] ?? "";
    const get = await nexus("jobs", "get", jobId, "-o", "json");
    expect(JSON.parse(get.stdout)).toMatchObject({ job: { state: "JOB_STATE_COMPLETED" } });
    const explain = await nexus("jobs", "explain", `${jobId}/only`);
    expect(explain.stdout).toMatch(/attempt 1 on echo-1 SUCCEEDED/);
    expect(explain.stdout).toMatch(/echo-1 of 1 eligible/);
    expect((await nexus("jobs", "list", "-o", "name")).stdout).toContain(jobId);
  });

  it("cancels a job that waits for an agent, and --wait of it ends with 7", async () => {
    const jobId = await submit([{ key: "a", capability: "work.nobody" }]);
    const watching = nexus("jobs", "watch", jobId);
    const { code, stdout } = await nexus("jobs", "cancel", jobId, "--reason", "test");
    expect(code).toBe(0);
    expect(stdout).toMatch(/cancelled/);
    expect((await watching).code).toBe(7);
  });

  it("ends with 130 when the watch of a job is interrupted, and the job goes on", async () => {
    const jobId = await submit([{ key: "a", capability: "work.nobody" }]);
    const interrupted = new AbortController();
    const watching = stack.interruptible(interrupted.signal, ["jobs", "watch", jobId]);
    interrupted.abort();
    expect(await watching).toMatchObject({ code: 130, stderr: "" });
    const { stdout } = await nexus("jobs", "get", jobId, "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ job: { state: "JOB_STATE_PENDING" } });
    await nexus("jobs", "cancel", jobId);
  });

  it("lists, gets and discovers agents", async () => {
    expect((await nexus("agents", "list")).stdout).toMatch(/echo-1 +online/);
    expect((await nexus("agents", "get", "echo-1")).stdout).toContain("work.echo@1.0.0");
    const found = await nexus(
      "agents",
      "discover",
      "work.echo",
      "--version-range",
      "^2.0.0",
      "--explain",
    );
    expect(found.stdout).toMatch(/not echo-1/);
  });

  it("hands a task an input too large for a message, and gets such an output back", async () => {
    const input = "a large body, ".repeat(30_000);
    const jobId = await submit([{ key: "a", capability: "work.echo", input }]);
    expect((await nexus("jobs", "watch", jobId)).code).toBe(0);
    const { stdout } = await nexus("jobs", "get", jobId, "-o", "json");
    const { job } = JSON.parse(stdout) as {
      job: { results: { a: { reference: { sha256: string } } } };
    };
    const sha256 = Buffer.from(job.results.a.reference.sha256, "base64").toString("hex");
    const body = await nexus("payloads", "download", sha256);
    expect([body.code, JSON.parse(body.stdout)]).toEqual([0, input]);
    const again = await nexusWith(body.stdout, "payloads", "upload");
    expect(again.stdout.trim()).toBe(sha256);
    expect((await nexus("payloads", "download", "0".repeat(64))).code).toBe(3);
    expect((await nexus("payloads", "download", "beef")).code).toBe(2);
    expect((await nexus("payloads", "upload")).code).toBe(2);
  });

  it("shows routes, sends messages, and finds no dead ones", async () => {
    const routes = await nexus("mesh", "routes", "-o", "name");
    expect(routes.code).toBe(0);
    const [agentId = ""] = routes.stdout.split("\n");
    const sent = await nexus("mesh", "send", '{"a":1}', "--to", agentId, "--durable");
    expect([sent.code, sent.stdout]).toEqual([0, expect.stringContaining("queued")]);
    const nobody = await nexus("mesh", "send", "text", "--to", "nobody-at-all");
    expect([nobody.code, nobody.stdout]).toEqual([7, expect.stringMatching(/no.such.agent/)]);
    expect((await nexus("mesh", "send", "text")).code).toBe(2);
    expect((await nexus("mesh", "dead-letters", "list", "--to", "nobody")).code).toBe(0);
    expect((await nexus("mesh", "dead-letters", "purge")).code).toBe(2);
    expect((await nexus("mesh", "dead-letters", "get", "999999")).code).toBe(3);
  });

  it("ends with the documented code for each kind of mistake", async () => {
    expect((await nexus("jobs", "get", "job_missing")).code).toBe(3);
    expect((await nexus("jobs", "frobnicate")).code).toBe(2);
    expect((await nexus("jobs", "list", "--state", "nonsense")).code).toBe(2);
    expect((await nexus("--gateway", "127.0.0.1:1", "--timeout", "2", "status")).code).toBe(5);
    const large = await nexus("jobs", "submit", "x", "--priority", "1000", "-o", "json");
    expect([large.code, large.stdout]).toEqual([2, ""]);
    expect(JSON.parse(large.stderr)).toMatchObject({
      error: {
        code: "invalid",
        reason: "REQUEST_INVALID",
        details: { fieldViolations: [{ field: "priority" }] },
      },
    });
    const json = await nexus("jobs", "get", "job_missing", "-o", "json");
    expect(json.stdout).toBe("");
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { reason: "JOB_NOT_FOUND" } });
  });
});

describe("the nexus command on secrets", () => {
  const PATH = "app/cli";
  const secrets = (...args: string[]) => nexus("secrets", ...args);
  const put = (input: string, ...flags: string[]) =>
    nexusWith(input, "secrets", "put", PATH, ...flags);

  it("stores what it reads from standard input or a file, and prints it and nothing else", async () => {
    const first = await put("one\n", "--expect", "0");
    expect([first.code, first.stdout]).toEqual([0, `Stored version 1 of ${PATH}.\n`]);
    const file = join(home, "value");
    writeFileSync(file, "two\n");
    expect((await put("", "--file", file)).code).toBe(0);
    expect((await put("three\n", "--raw")).code).toBe(0);
    const [newest, one, two, names, table] = await Promise.all([
      secrets("get", PATH, "-o", "json"),
      secrets("get", PATH, "--number", "1"),
      secrets("get", PATH, "--number", "2"),
      secrets("list", "app/", "-o", "name"),
      secrets("list"),
    ]);
    const value = Buffer.from("three\n").toString("base64");
    expect(JSON.parse(newest.stdout)).toMatchObject({ value, version: { version: 3 } });
    expect([one.stdout, two.stdout]).toEqual(["one", "two\n"]);
    expect(names.stdout).toContain(`${PATH}\n`);
    expect(table.stdout).toMatch(/app\/cli +3 /);
  });

  it("deletes, brings back and destroys versions", async () => {
    expect((await secrets("delete", PATH)).stdout).toMatch(/^3 +deleted/m);
    expect((await secrets("get", PATH)).code).toBe(6);
    expect((await secrets("undelete", PATH, "--number", "3")).stdout).toMatch(/^3 +active/m);
    await secrets("destroy", PATH, "--number", "1", "--number", "2");
    const { stdout } = await secrets("versions", PATH);
    expect(stdout).toMatch(/^3 +active[^]*^2 +destroyed[^]*^1 +destroyed/m);
    expect((await secrets("destroy", PATH, "--all")).code).toBe(0);
    expect((await secrets("get", PATH)).code).toBe(3);
  });

  it("ends with the documented code for each kind of mistake, and shows no value", async () => {
    const mistakes = await Promise.all([
      put("hush", "--expect", "7"),
      put("hush".repeat(20_000)),
      put("hush", "--ttl", "soon"),
      put("", "--file", join(home, "none")),
      secrets("destroy", PATH),
    ]);
    expect(mistakes.map(({ code }) => code)).toEqual([6, 2, 2, 2, 2]);
    for (const { stdout, stderr } of mistakes) expect(stdout + stderr).not.toContain("hush");
  });
});

describe("the nexus command on keys", () => {
  const keys = (...args: string[]) => nexus("keys", ...args);

  it("makes, shows, turns, switches and destroys keys", async () => {
    const line = async (...args: string[]) => (await keys(...args)).stdout;
    expect(await line("create", "cli-key")).toMatch(/^cli-key +envelope +active +1 /m);
    expect(await line("rotate", "cli-key")).toMatch(/^cli-key +envelope +active +2 /m);
    expect(await line("disable", "cli-key")).toMatch(/^cli-key +envelope +disabled/m);
    expect(await line("enable", "cli-key")).toMatch(/^cli-key +envelope +active/m);
    const [shown, names, twice, odd, kept, none] = await Promise.all([
      keys("get", "cli-key", "-o", "json"),
      keys("list", "-o", "name"),
      keys("create", "cli-key"),
      keys("create", "odd", "--type", "rsa"),
      keys("destroy", "cli-key"),
      keys("get", "none"),
    ]);
    expect(JSON.parse(shown.stdout)).toMatchObject({ key: { name: "cli-key", latestVersion: 2 } });
    expect(names.stdout).toContain("cli-key\n");
    expect([twice, odd, kept, none].map(({ code }) => code)).toEqual([6, 2, 6, 3]);
    expect(await line("destroy", "cli-key", "--allow")).toMatch(/^cli-key +envelope +destroyed/m);
  });

  it("encrypts, decrypts, rewraps, signs and verifies what it reads", async () => {
    const requestId = "cli-box";
    await stack.admin.keys.createKey({ requestId, name: "cli-box" });
    await keys("create", "cli-pen", "--type", "ed25519");
    const transit = (input: string, ...args: string[]) => nexusWith(input, "transit", ...args);
    const box = ["cli-box", "--resource", "order/7"];
    const sealed = (await transit("hush\n", "encrypt", ...box)).stdout;
    expect(sealed).toMatch(/^nxv:v1:/);
    await stack.admin.keys.rotateKey({ requestId: `${requestId}-2`, name: "cli-box" });
    const moved = (await transit(sealed, "rewrap", ...box)).stdout;
    expect(moved).toMatch(/^nxv:v2:/);
    const signature = (await transit("text", "sign", "cli-pen")).stdout.trim();
    const [opened, wrong, nowhere, valid, forged] = await Promise.all([
      transit(moved, "decrypt", ...box),
      transit(moved, "decrypt", "cli-box", "--resource", "order/8"),
      transit("x", "encrypt", "cli-box"),
      transit("text", "verify", "cli-pen", signature),
      transit("text!", "verify", "cli-pen", signature),
    ]);
    expect(opened).toMatchObject({ code: 0, stdout: "hush\n" });
    expect(wrong).toMatchObject({ code: 2, stdout: "" });
    expect(nowhere.code).toBe(2);
    expect(valid).toMatchObject({ code: 0, stdout: "valid\n" });
    expect(forged).toMatchObject({ code: 7, stdout: "not valid\n" });
  });
});

describe("the nexus command on tasks", () => {
  const MOOD = "work.moody";
  let good: string;
  let bad: string;
  /** Turns the agent's mood, so that what failed succeeds when it is run again. */
  let cheerful = false;

  beforeAll(async () => {
    const builder = await stack.agent("moody-1");
    const moody = await builder
      .capability<{ fail: boolean }>(`${MOOD}@1.0.0`, {}, (ctx, { fail }) => {
        ctx.stream("do re mi");
        if (fail && !cheerful) throw new TaskError({ reason: "MOOD", message: "Not today." });
        return "sung";
      })
      .start();
    const jobId = await submit([
      { key: "good", capability: MOOD, input: { fail: false } },
      { key: "bad", capability: MOOD, input: { fail: true } },
    ]);
    expect((await nexus("jobs", "watch", jobId)).code).toBe(7);
    const { tasks } = await stack.admin.jobs.listTasks({ jobId });
    const idOf = (key: string) => tasks.find(({ spec }) => spec?.key === key)?.taskId ?? "";
    good = idOf("good");
    bad = idOf("bad");
    return () => moody.drain(0);
  });

  it("finds tasks across jobs by what they need, how they stand, and when they came", async () => {
    const found = async (...flags: string[]) => {
      const { stdout } = await nexus("tasks", "list", "-o", "name", "--capability", MOOD, ...flags);
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
    expect((await stack.admin.jobs.getJob({ jobId })).job?.tasks?.succeeded).toBe(1);
    const again = await nexus("dead-letters", "redrive", "--task", bad);
    expect(again.stdout).toMatch(new RegExp(`^${bad} +${jobId} +before$`, "m"));
    expect((await nexus("dead-letters", "list", "-o", "name", ...filter)).stdout).toBe("");
    const all = await nexus("dead-letters", "list", "--redriven", ...filter);
    expect(all.stdout).toMatch(new RegExp(`^${bad} .* ${jobId}$`, "m"));
  });
});

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
  });

  it("counts, and follows changes until interrupted", async () => {
    await nexus("state", "create", "tokens", "--policy", "counter");
    expect((await nexus("state", "increment", "tokens", "used", "5")).stdout).toBe("5\n");
    const interrupted = new AbortController();
    const watching = stack.follow(interrupted.signal, ["state", "watch", "tokens"]);
    const shows = (text: string) =>
      waitFor(() => watching.stdout().includes(text), { what: `the watch to show ${text}` });
    await shows("used  5");
    expect(await stack.admin.bucket("tokens").increment("used", -2)).toBe(3n);
    await shows("used  3  admin");
    interrupted.abort();
    expect(await watching.outcome).toMatchObject({ code: 0, stderr: "" });
  });

  it("keeps both values of agents that did not know of each other, until somebody resolves", async () => {
    await nexus("state", "create", "notes", "--policy", "vector");
    const writer = await stack.agent("writer-1");
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
    await submit(tasks);
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
