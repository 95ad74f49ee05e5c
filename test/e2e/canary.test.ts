/** Secrets of every kind, and what agents tell each other, sent through all six services, then searched for in all that those write. */
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { createPool } from "@nexus/postgres";
import { StatePolicy } from "@nexus/proto/mesh";
import { createAgent, createClient, JobState, PrincipalKind, toPayload } from "@nexus/sdk";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createTempFolder, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startFleet, submitTasks, type TestFleet, waitForEnd } from "./_fleet.ts";

/** Nowhere but where it belongs, in no table either. */
const SECRET = "canary-9d1e-in-a-coal-mine";
/** What tasks, messages and state are about: stored with them, and told to nobody else. */
const PAYLOAD = "canary-77aa-under-a-cloth";
const SERVICES = ["gateway", "registry", "orchestrator", "mesh-router", "vault", "insight"];
const STATE_BUCKET = "cage";

let folder: TempFolder;
let fleet: TestFleet;
/** What the services export as traces. */
let spans: Buffer[];
let collector: ReturnType<typeof createServer>;
/** Secrets that the services were started with. */
const given: string[] = [];

beforeAll(async () => {
  folder = await createTempFolder("nexus-canary");
  spans = [];
  collector = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => spans.push(chunk));
    request.on("end", () => response.end());
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  fleet = await startFleet({
    dataDir: folder.path,
    env: (name, own) => {
      const prefix = `NEXUS_${name.toUpperCase().replaceAll("-", "_")}`;
      given.push(own[`${prefix}_CLIENT_SECRET`] ?? "");
      return { [`${prefix}_LOG_LEVEL`]: "trace", [`${prefix}_OTLP_ENDPOINT`]: endpoint };
    },
  });
}, 120_000);

afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  collector.close();
  await folder.remove();
}, 60_000);

/** Errors as their callers get them. */
const errors: string[] = [];

async function refused(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (refusal: unknown) => NexusError.from(refusal),
  );
  expect(error, "a refusal").toBeDefined();
  errors.push(JSON.stringify([error?.message, error?.details]));
}

/** Identities: passwords that are right, wrong, and in the wrong place. Returns every secret that came back. */
async function proveIdentities(): Promise<string[]> {
  const { admin, stack } = fleet;
  const principal = { requestId: randomUUID(), principalId: "bird", kind: PrincipalKind.USER };
  await admin.principals.createPrincipal({ ...principal, password: SECRET });
  const { tokens } = await admin.auth.login({ principalId: "bird", password: SECRET });
  const refreshed = await admin.auth.refreshToken({ refreshToken: tokens?.refreshToken ?? "" });
  const { clientSecret } = await fleet.createAgentIdentity("cage-1");
  const granted = await admin.auth.grantClientToken({ principalId: "cage-1", clientSecret });
  await refused(admin.auth.login({ principalId: "bird", password: `${SECRET}!` }));
  await refused(admin.auth.login({ principalId: SECRET, password: SECRET }));
  await refused(admin.auth.grantClientToken({ principalId: SECRET, clientSecret: SECRET }));
  await refused(admin.auth.refreshToken({ refreshToken: SECRET }));
  await refused(admin.auth.login({ principalId: "bird", password: SECRET.repeat(200) }));
  const { gateway } = stack.info;
  const forger = createClient({ gateway, credentials: { kind: "token", accessToken: SECRET } });
  await refused(forger.jobs.listJobs({}));
  forger.close();
  const sets = [tokens, refreshed.tokens, granted.tokens];
  const texts = sets.flatMap((set) => [set?.accessToken ?? "", set?.refreshToken ?? ""]);
  return [...texts, clientSecret, stack.admin.password, ...given];
}

/** Keys and stored secrets. Returns the key that came back in clear. */
async function useVault(): Promise<Buffer> {
  const { keys, transit, secrets } = fleet.admin;
  const keyName = "perch";
  const context = { resourceType: "cage", resourceId: "1" };
  const plaintext = Buffer.from(SECRET);
  await keys.createKey({ requestId: randomUUID(), name: keyName });
  const { ciphertext } = await transit.encrypt({ keyName, plaintext, context });
  await transit.decrypt({ keyName, ciphertext, context });
  const elsewhere = { resourceType: "cage", resourceId: "2" };
  await refused(transit.decrypt({ keyName, ciphertext, context: elsewhere }));
  await refused(transit.encrypt({ keyName: SECRET, plaintext, context }));
  await transit.hashPassword({ password: SECRET });
  await refused(transit.verifyPassword({ password: SECRET, phc: SECRET }));
  const made = await transit.generateDataKey({ keyName, context });
  const path = "app/canary";
  const put = { requestId: randomUUID(), path, value: plaintext };
  await secrets.putSecret(put);
  await secrets.getSecret({ path });
  await refused(secrets.putSecret({ ...put, value: Buffer.from(`${SECRET}!`) }));
  await refused(secrets.putSecret({ ...put, requestId: randomUUID(), path: "../x" }));
  return Buffer.from(made.plaintextKey);
}

/** A job whose agent reads a secret, takes a payload in, puts it out, tells another agent, and keeps it as state. */
async function work(): Promise<void> {
  const { admin, stack } = fleet;
  const { gateway } = stack.info;
  const logger = createSilentLogger();
  const scopes = ["vault:secret:read", "secret:app:read", "mesh:*:*", "registry:*:*", "state:*:*"];
  await admin.state.createBucket({
    requestId: randomUUID(),
    bucket: STATE_BUCKET,
    policy: StatePolicy.LWW,
  });
  const keeper = await fleet.createAgentIdentity("keeper", [...scopes, "orchestrator:*:*"]);
  await using _keeper = await createAgent({ ...keeper, gateway, logger })
    .capability<{ text: string }>("cage.open@1.0.0", {}, async (ctx, input) => {
      expect((await ctx.secret("app/canary")).text()).toBe(SECRET);
      ctx.progress(0.5, "half");
      await ctx.state.bucket(STATE_BUCKET).put("k", input);
      await ctx.send("listener", "sing", input);
      return input;
    })
    .start();
  const listener = await fleet.createAgentIdentity("listener");
  const heard: unknown[] = [];
  await using _listener = await createAgent({ ...listener, gateway, logger })
    .capability("cage.hear@1.0.0", {}, () => null)
    .onMessage("sing", ({ body }) => void heard.push(body))
    .start();
  const jobId = await submitTasks(admin, [
    { key: "a", capability: "cage.open", input: { text: PAYLOAD } },
  ]);
  expect((await waitForEnd(admin, jobId)).state).toBe(JobState.COMPLETED);
  await waitFor(() => heard.length === 1, { what: "the message" });
  expect(heard).toEqual([{ text: PAYLOAD }]);
  const payload = toPayload({ text: PAYLOAD });
  const nobody = { toAgentId: "nobody-there", subject: "s", payload };
  errors.push(inspect(await admin.messaging.callAgent(nobody), { depth: 10 }));
  const twice = { key: "a", capability: "cage.open", input: payload };
  await refused(admin.jobs.submitJob({ requestId: randomUUID(), tasks: [twice, twice] }));
  await refused(admin.payloads.findPayload({ sha256: Buffer.from(PAYLOAD) }));
}

/** The HTTP port, with bodies that are none. */
async function misuseHttp(): Promise<void> {
  const post = async (method: string, body: string) => {
    const headers = { "content-type": "application/json" };
    const url = `${fleet.stack.info.http}/nexus.vault.v1.AuthService/${method}`;
    const response = await fetch(url, { method: "POST", headers, body });
    expect(response.status, body).toBeGreaterThanOrEqual(400);
    errors.push(await response.text());
  };
  await post("Login", `{"principalId":"bird","password":["${SECRET}"]}`);
  await post("Login", `{"principalId":"bird","password":"${SECRET}"`);
  await post("Login", `{"principalId":"bird","${SECRET}":1}`);
  await post("Login", `{"principalId":"bird","password":"${SECRET}?"}`);
  await post(SECRET, "{}");
}

/** Everything that the services wrote but their tables, by what it is. */
async function sinks(): Promise<Map<string, string>> {
  const { admin, stack } = fleet;
  const found = new Map<string, string>([["errors", errors.join("\n")]]);
  for (const [name, { ops }] of Object.entries(stack.info.services)) {
    found.set(`metrics of ${name}`, await (await fetch(`${ops}/metrics`)).text());
  }
  const leaves: Buffer[] = [];
  for await (const { frame } of admin.audit.exportEntries({})) {
    if (frame.case !== "leaves") continue;
    leaves.push(...frame.value.leaves.map((one) => Buffer.from(one.leaf)));
  }
  expect(leaves.length).toBeGreaterThan(20);
  found.set("audit log", Buffer.concat(leaves).toString("latin1"));
  found.set("alerts", inspect(await admin.anomalies.listAlerts({}), { depth: 10 }));
  for (const name of SERVICES) {
    const traced = () => Buffer.concat(spans).includes(`nexus-${name}`);
    await waitFor(traced, { what: `spans of ${name}`, timeoutMs: 20_000 });
  }
  found.set("traces", Buffer.concat(spans).toString("latin1"));
  const logs = readdirSync(join(folder.path, "logs"));
  for (const name of SERVICES) expect(logs.some((file) => file.startsWith(name))).toBe(true);
  for (const file of logs) {
    found.set(`log ${file}`, readFileSync(join(folder.path, "logs", file), "latin1"));
  }
  return found;
}

/** Every row of every service's tables as text; bytes are hex there. */
async function dumpTables(): Promise<Map<string, string>> {
  const url = fleet.stack.postgresUrl.replace(/\/postgres(\?|$)/, "/nexus$1");
  const pool = createPool({ url, max: 1, applicationName: "test", schema: "public" });
  const tables = await pool.query<{ name: string }>(
    `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  );
  const found = new Map<string, string>();
  for (const { name } of tables.rows) {
    const { rows } = await pool.query<{ line: string }>(`SELECT t::text AS line FROM ${name} t`);
    found.set(name, rows.map(({ line }) => line).join("\n"));
  }
  await pool.close();
  return found;
}

function formsOf(secret: string | Buffer): string[] {
  const bytes = Buffer.from(secret as string);
  const plain = typeof secret === "string" ? [secret] : [];
  return [...plain, bytes.toString("hex"), bytes.toString("base64"), bytes.toString("base64url")];
}

/** Which of these hold which of those. */
function findIn(
  places: ReadonlyMap<string, string>,
  secrets: readonly (string | Buffer)[],
): string[] {
  const known = secrets.filter((secret) => secret.length > 0);
  return [...places].flatMap(([place, text]) =>
    known.flatMap((secret, at) =>
      formsOf(secret)
        .filter((form) => text.includes(form))
        .map((form) => `${place} holds secret ${at}: …${around(text, form)}…`),
    ),
  );
}

function around(text: string, form: string): string {
  const at = text.indexOf(form);
  return text.slice(Math.max(0, at - 120), at + form.length + 40);
}

it("a secret is in no log, error, trace, metric, audit entry or table of any service, a payload in none but its tables", async () => {
  const secrets = [SECRET, ...(await proveIdentities()), await useVault()];
  await work();
  await misuseHttp();
  const told = await sinks();
  const tables = await dumpTables();
  expect(findIn(told, [...secrets, PAYLOAD])).toEqual([]);
  expect(findIn(tables, secrets)).toEqual([]);
  // What is searched is what it should be: names are in all of them, the payload where it is kept.
  for (const place of ["audit log", "log vault.log", "traces"]) {
    expect(told.get(place), place).toContain("AuthService");
  }
  expect(findIn(tables, [PAYLOAD]).length).toBeGreaterThan(0);
}, 120_000);
