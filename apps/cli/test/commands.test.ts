/** Every command against a real stack: what it prints, with which code it ends, and what it refuses. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testMeshCommands } from "./_mesh-commands.ts";
import { testPrincipalCommands } from "./_principal-commands.ts";
import { CommandStack, type Outcome } from "./_stack.ts";
import { testStateCommands } from "./_state-commands.ts";
import { testTaskCommands } from "./_task-commands.ts";
import { testVaultCommands } from "./_vault-commands.ts";

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
    expect(await check("prod/db")).toMatchObject({ code: 7, stdout: "no: denied by no-prod\n" });
    expect(await check("test/db")).toMatchObject({ code: 0, stdout: "yes: allowed\n" });
    const revoked = await nexus("tokens", "revoke", "--principal", "ruled-1");
    expect(revoked.stdout).toContain("Revoked at");
    expect((await nexus("tokens", "revoke")).code).toBe(2);
    expect((await nexus("policies", "delete", "no-prod")).code).toBe(0);
    await nexus("roles", "assign", "ruled-1");
    expect((await nexus("roles", "delete", "reader")).code).toBe(0);
    for (const noun of ["roles", "policies"]) {
      const gone = await nexus(noun, "delete", "reader");
      expect([gone.code, gone.stdout, gone.stderr]).toEqual([
        3,
        "",
        expect.stringContaining("no "),
      ]);
    }
    expect(await stack.nexusWith("junk", "tokens", "introspect")).toMatchObject({
      code: 7,
      stdout: "not active\n",
    });
  });

  it("makes a user with a password that it reads, of a tenant that begins with it", async () => {
    const make = ["principals", "create", "eve", "--kind", "user", "--namespace", "tenant-2"];
    const unasked = await nexus(...make);
    expect([unasked.code, unasked.stderr]).toEqual([
      2,
      expect.stringContaining("--password-stdin"),
    ]);
    const made = await stack.nexusWith("a long password\n", ...make, "--password-stdin");
    expect(made.code).toBe(0);
    expect((await nexus("principals", "list", "-o", "name")).stdout).not.toContain("eve");
    const { gateway } = stack.stack.info;
    const credentials = {
      kind: "password",
      principalId: "eve",
      password: "a long password",
    } as const;
    await using eve = createClient({
      gateway,
      credentials: { ...credentials, namespace: "tenant-2" },
    });
    expect((await eve.auth.whoAmI({})).principal).toMatchObject({ namespace: "tenant-2" });
    expect((await nexus("principals", "create", "odd", "--namespace", "No Such")).code).toBe(2);
  });

  it("ends with 2 for a file that cannot be read, or is not what it should be", async () => {
    const none = join(stack.home, "none");
    const broken = join(stack.home, "broken.json");
    writeFileSync(broken, '{"statements":[{"effect":"DENY"}]}');
    for (const argv of [
      ["policies", "put", "p", "--file", none],
      ["policies", "put", "p", "--file", broken],
      ["audit", "verify", "--file", none],
      ["audit", "verify", "--key-file", none],
    ]) {
      const { code, stderr } = await nexus(...argv);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/The file \S+ .*USAGE/)]);
    }
  });

  it("ends with 6 when a quota is used up, and with 2 for what is too large", async () => {
    await nexus("state", "create", "tight", "--keys", "1");
    expect((await nexus("state", "put", "tight", "a", "1")).code).toBe(0);
    const full = await nexus("state", "put", "tight", "b", "1");
    expect([full.code, full.stderr]).toEqual([6, expect.stringContaining("STATE_KEYS_QUOTA")]);
    const tasks = join(stack.home, "large.json");
    writeFileSync(
      tasks,
      JSON.stringify(
        // Many small inputs: none is worth storing by itself.
        Array.from({ length: 100 }, (_, index) => ({
          key: `t${index}`,
          capability: "work.echo",
          input: "x".repeat(60_000),
        })),
      ),
    );
    const large = await nexus("jobs", "submit", "--tasks", `@${tasks}`);
    expect([large.code, large.stderr]).toEqual([
      2,
      expect.stringMatching(/limit of 4194304 bytes\. \(MESSAGE_TOO_LARGE\)\nhint: /),
    ]);
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
    expect(explain.stdout).toMatch(/^only \(work\.echo\) is succeeded\n/);
    expect(explain.stdout).toMatch(/echo-1 of 1 eligible/);
    // The reputation that everybody is born with, not that of one who always fails.
    expect(explain.stdout).toContain("reputation 0.34");
    expect((await nexus("jobs", "list", "-o", "name")).stdout).toContain(jobId);
  });

  it("explains tasks that no agent was ever considered for", async () => {
    const behind = (taskKey: string) => [{ taskKey, inputName: "in" }];
    const jobId = await stack.submit([
      { key: "first", capability: "nobody.can" },
      { key: "second", capability: "work.echo", dependencies: behind("first") },
      {
        key: "each",
        capability: "work.echo",
        dependencies: behind("first"),
        map: { source: "first", itemName: "item" },
      },
    ]);
    const explain = async (key: string) =>
      (await nexus("jobs", "explain", `${jobId}/${key}`)).stdout;
    expect(await explain("first")).toMatch(
      /^first \(nobody\.can\) is ready\n {2}waits since .* for 3600 s at most\nnow:\n {2}nobody can take it\n {2}not echo-1: CAPABILITY\n/,
    );
    expect(await explain("second")).toBe("second (work.echo) is blocked\n  runs behind first\n");
    expect(await explain("each")).toContain("each element of first is a task of its own: each#0");
    await nexus("jobs", "cancel", jobId);
    expect(await explain("second")).toContain("second (work.echo) is cancelled: JOB_CANCELLED");
  });

  it("cancels a job that waits for an agent, and --wait of it ends with 7", async () => {
    const jobId = await stack.submit([{ key: "a", capability: "work.nobody" }]);
    const watching = nexus("jobs", "watch", jobId);
    const { code, stdout } = await nexus("jobs", "cancel", jobId, "--reason", "test");
    expect(code).toBe(0);
    expect(stdout).toMatch(/cancelled/);
    expect((await watching).code).toBe(7);
  });

  it("ends with 130 when the watch of a job is interrupted, and the job goes on", async () => {
    const jobId = await stack.submit([{ key: "a", capability: "work.nobody" }]);
    const interrupted = new AbortController();
    const watching = stack.interruptible(interrupted.signal, ["jobs", "watch", jobId]);
    interrupted.abort();
    expect(await watching).toMatchObject({ code: 130, stderr: "" });
    const { stdout } = await nexus("jobs", "get", jobId, "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ job: { state: "JOB_STATE_PENDING" } });
    await nexus("jobs", "cancel", jobId);
  });

  it("lists, gets and discovers agents", async () => {
    const listed = async () => (await nexus("agents", "list")).stdout;
    // A task of a test before may have just ended: whether an agent is busy is told once a second.
    await waitFor(async () => /echo-1 +online/.test(await listed()), { what: "echo-1 to be free" });
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
    const jobId = await stack.submit([{ key: "a", capability: "work.echo", input }]);
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

  it("says why a job that it follows does not go on", async () => {
    const jobId = await stack.submit([{ key: "lonely", capability: "nobody.can" }]);
    const interrupted = new AbortController();
    const watching = stack.follow(interrupted.signal, ["jobs", "watch", jobId]);
    const said = `lonely waits: nobody can do nobody.can now; nexus jobs explain ${jobId}/lonely`;
    await waitFor(() => watching.stderr().includes(said), {
      what: "the reason",
      timeoutMs: 20_000,
    });
    await nexus("jobs", "cancel", jobId);
    expect((await watching.outcome).code).toBe(7);
  });

  it("gives an agent a new secret, and says so to whoever makes it again", async () => {
    const made = JSON.parse((await nexus("principals", "create", "loser", "-o", "json")).stdout);
    const again = await nexus("principals", "create", "loser");
    expect([again.code, again.stderr]).toEqual([6, expect.stringContaining("rotate-secret")]);
    const rotated = await nexus("principals", "rotate-secret", "loser", "-o", "json");
    const { clientSecret } = JSON.parse(rotated.stdout);
    expect(clientSecret).toMatch(/.{32}/);
    expect(clientSecret).not.toBe(made.clientSecret);
    const { auth } = stack.admin;
    const login = (secret: string) =>
      auth.grantClientToken({ namespace: "default", principalId: "loser", clientSecret: secret });
    await expect(login(made.clientSecret)).rejects.toThrow();
    expect((await login(clientSecret)).tokens?.accessToken).toBeTruthy();
  });

  it("shows how agents, capabilities and jobs did", async () => {
    const tasks = JSON.stringify([{ key: "only", capability: "work.echo", input: 1 }]);
    const { stdout } = await nexus("jobs", "submit", "--tasks", tasks, "--wait");
    const [jobId = ""] = stdout.split("\n");
    const job = () => nexus("performance", "job", jobId);
    await waitFor(async () => (await job()).code === 0, { what: "the job's samples" });
    expect((await job()).stdout).toMatch(/^all +1 +100\.0 % .*\necho-1 +1 +100\.0 % /m);
    const agents = await nexus("performance", "agents", "--window", "1h", "--agent", "echo-1");
    expect(agents.stdout).toMatch(/^echo-1 +\d+ +100\.0 %/m);
    const capabilities = await nexus("performance", "capabilities", "-o", "name");
    expect(capabilities.stdout.split("\n")).toContain("work.echo");
    expect((await nexus("performance", "job", "job_missing")).code).toBe(3);
    expect((await nexus("performance", "agents", "--window", "long")).code).toBe(2);
  });

  it("says that a job goes on when nobody waits for it any more", async () => {
    const tasks = JSON.stringify([{ key: "a", capability: "nobody.can" }]);
    const interrupted = new AbortController();
    const argv = ["jobs", "submit", "--tasks", tasks, "--wait"];
    const waiting = stack.follow(interrupted.signal, argv);
    await waitFor(() => waiting.stdout().includes("job pending"), { what: "the job" });
    interrupted.abort();
    const { code, stdout, stderr } = await waiting.outcome;
    const [jobId = ""] = stdout.split("\n");
    expect([code, stderr]).toEqual([130, expect.stringContaining(`${jobId} goes on`)]);
    expect((await nexus("jobs", "cancel", jobId)).code).toBe(0);
  });

  it("removes an agent that is gone", async () => {
    const gone = await stack.agent("gone-1");
    const running = await gone.capability("gone.work@1.0.0", {}, () => "").start();
    await running.drain(0);
    expect((await nexus("agents", "remove", "gone-1")).stdout).toBe("Removed gone-1.\n");
    expect((await nexus("agents", "get", "gone-1")).code).toBe(3);
    expect((await nexus("agents", "remove", "gone-1")).code).toBe(3);
  });

  it("takes the tasks of docs/jobs.md", async () => {
    const page = readFileSync(new URL("../../../docs/jobs.md", import.meta.url), "utf8");
    const [, tasks = ""] = /^```json\n(.*?)^```$/ms.exec(page) ?? [];
    const { code, stdout, stderr } = await nexus("jobs", "submit", "--tasks", tasks);
    expect([code, stderr]).toEqual([0, ""]);
    const { stdout: job } = await nexus("jobs", "get", stdout.trim());
    for (const key of ["list", "read", "translate", "report"]) expect(job).toContain(key);
    expect((await nexus("jobs", "cancel", stdout.trim())).code).toBe(0);
  });

  it("takes the short words of edges, and says which there are", async () => {
    const submit = (onFailure: string) => {
      const dependencies = [{ taskKey: "a", onFailure }];
      const tasks = [
        { key: "a", capability: "work.echo" },
        { key: "b", capability: "work.echo", dependencies },
      ];
      return nexus("jobs", "submit", "--tasks", JSON.stringify(tasks));
    };
    for (const word of ["skip", "CONTINUE", "EDGE_POLICY_FAIL"]) {
      expect((await submit(word)).code).toBe(0);
    }
    const { code, stderr } = await submit("ignore");
    expect(code).toBe(2);
    expect(stderr).toContain('Task 2, b: onFailure is one of FAIL, SKIP, CONTINUE, not "ignore"');
  });

  it("ends with the documented code for each kind of mistake", async () => {
    for (const flag of [
      ["--priority", "soon"],
      ["--label", "bad"],
    ]) {
      const wrong = await nexus("jobs", "submit", "x", ...flag);
      expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining(`${flag[0]} is`)]);
    }
    expect((await nexus("--namespace", "other", "jobs", "list")).code).toBe(2);
    const stale = await stack.nexusAs("a.b.c", "jobs", "list");
    expect([stale.code, stale.stderr]).toEqual([4, expect.stringContaining("NEXUS_TOKEN is set")]);
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

testPrincipalCommands(() => stack);
testVaultCommands(() => stack);
testTaskCommands(() => stack);
testStateCommands(() => stack);
testMeshCommands(() => stack);
