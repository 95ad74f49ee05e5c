/** Vault alone, killed as often as it can be started: a thousand kills between a change and its answer take minutes, not an hour. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { type EmbeddedPostgres, freePorts, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, provisionDatabase } from "@nexus/postgres";
import { createClient } from "@nexus/sdk";
import { sleep } from "@nexus/shared";
import { createTempFolder, waitFor } from "@nexus/testkit";
import { command, ROOT } from "../e2e/_command.ts";
import { LIVENESS_MS } from "./_bed.ts";
import { belowMinimum, type CampaignOptions, type LoneCampaign } from "./_campaign.ts";
import { createRandom } from "./_random.ts";
import { type Acknowledged, beginWork, judgeTables, ROUNDS_MIN } from "./_vault-work.ts";

const MAIN = join(ROOT, "services/vault/dist/bundle.js");
const CLI = join(ROOT, "apps/cli/bin/nexus.js");
const ROLE = "nexus_vault";
/** Replicas at a time, so that one works and is killed while another one starts. */
const LANES = 2;
/** The most that a campaign takes, and that vault allows: a day. */
const TOKEN_TTL_MS = "86400000";
/** Between the first answer and the kill. */
const LIFE_MAX_MS = 200;

/** The campaign. */
export const vaultKill: LoneCampaign = {
  name: "vault-kill",
  about: "SIGKILL of vault's two replicas alone, as fast as they start; the promises of audit-kill",
  shortMs: 2_000,
  async playAlone(options) {
    const folder = await createTempFolder("nexus-faults");
    const dataDir = join(folder.path, "pg");
    const server = await startEmbeddedPostgres({ dataDir, durable: true, removeWhenDone: true });
    try {
      return await play(server, options);
    } finally {
      await server.stop();
      await folder.remove();
    }
  },
};

/** What every replica is started with. */
interface Place {
  readonly databaseUrl: string;
  readonly rootKey: string;
  readonly password: string;
}

async function play(server: EmbeddedPostgres, options: CampaignOptions) {
  const place: Place = {
    databaseUrl: await provision(server.url),
    rootKey: randomBytes(32).toString("base64"),
    password: randomBytes(18).toString("base64url"),
  };
  const run = `vault-kill-${options.seed}-${Date.now()}`;
  const done: Acknowledged = { created: [], rotated: [], encrypted: [] };
  // Makes the schema and the administrator, whose token lasts as long as a campaign can; a replica of vault needs neither to check it.
  const first = await startVault(place);
  const accessToken = await logIn(first.address, place.password);
  await first.kill();
  const kills = await killAgainAndAgain({ ...options, place, run, done, accessToken });
  const tables = createPool({
    url: server.url.replace(/\/postgres$/, "/nexus"),
    max: 1,
    applicationName: "faults",
    schema: "vault",
  });
  const last = await startVault(place);
  try {
    const { counts, problems } = await judgeTables(tables, run, done);
    const all = { kills, ...counts };
    const minimums = { kills: LANES, created: ROUNDS_MIN, encrypted: ROUNDS_MIN };
    const unproved = await verifyLog(last.address, await logIn(last.address, place.password));
    return { counts: all, problems: [...belowMinimum(all, minimums), ...problems, ...unproved] };
  } finally {
    await last.kill();
    await tables.close();
  }
}

/** Returns the connection string of vault's own role. */
async function provision(adminUrl: string): Promise<string> {
  const admin = createPool({ url: adminUrl, max: 1, applicationName: "faults", schema: "public" });
  await admin.query("CREATE DATABASE nexus");
  await admin.close();
  const url = new URL(adminUrl);
  url.pathname = "/nexus";
  const password = randomBytes(18).toString("hex");
  await provisionDatabase(url.href, [{ role: ROLE, password, schema: "vault" }]);
  url.username = ROLE;
  url.password = password;
  return url.href;
}

interface Playing extends CampaignOptions {
  readonly place: Place;
  readonly run: string;
  readonly done: Acknowledged;
  readonly accessToken: string;
}

async function killAgainAndAgain(options: Playing): Promise<number> {
  const { place, run, done, accessToken, seed, killsMax = Number.POSITIVE_INFINITY } = options;
  const random = createRandom(seed);
  const endAtMs = performance.now() + options.durationMs;
  let begun = 0;
  let kills = 0;
  const goesOn = () =>
    begun < killsMax && (performance.now() < endAtMs || done.encrypted.length < ROUNDS_MIN);
  const lane = async () => {
    while (goesOn()) {
      const prefix = `${run}-${begun++}`;
      const vault = await startVault(place);
      const work = beginWork({ address: vault.address, accessToken, prefix, done });
      try {
        await work.answered();
        await sleep(random.between(0, LIFE_MAX_MS));
      } finally {
        await vault.kill();
        await work.end();
      }
      kills++;
      if (kills % 50 === 0) options.progress(`${kills} kills`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return kills;
}

interface RunningVault {
  readonly address: string;
  kill(): Promise<void>;
}

/** Starts a replica and waits until it serves. */
async function startVault({ databaseUrl, rootKey, password }: Place): Promise<RunningVault> {
  const [port, opsPort] = await freePorts(2);
  const env = {
    PATH: process.env["PATH"] ?? "",
    NEXUS_VAULT_DATABASE_URL: databaseUrl,
    NEXUS_VAULT_ROOT_KEY: rootKey,
    NEXUS_BOOTSTRAP_ADMIN_PASSWORD: password,
    NEXUS_VAULT_GRPC_PORT: String(port),
    NEXUS_VAULT_OPS_PORT: String(opsPort),
    NEXUS_VAULT_LOG_LEVEL: "silent",
    NEXUS_VAULT_PASSWORD_ITERATIONS: "100000",
    NEXUS_VAULT_ACCESS_TOKEN_TTL_MS: TOKEN_TTL_MS,
    // Ends when this process does.
    NEXUS_SUPERVISED: "1",
  };
  const child = spawn(process.execPath, [MAIN], {
    env,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const address = `127.0.0.1:${port}`;
  const exited = once(child, "exit");
  try {
    // Not by a client: whose first try fails waits a second before the next.
    await waitFor(async () => (await fetch(`http://127.0.0.1:${opsPort}/ready`)).ok, {
      timeoutMs: LIVENESS_MS,
      what: "vault to serve",
    });
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return { address, kill: () => kill(child, exited) };
}

async function kill(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill("SIGKILL");
  await exited;
}

async function logIn(address: string, password: string): Promise<string> {
  const client = createClient({ gateway: address });
  try {
    const { tokens } = await client.auth.login({ principalId: "admin", password });
    return tokens?.accessToken ?? "";
  } finally {
    client.close();
  }
}

/** What an auditor finds from outside, by the command. */
async function verifyLog(address: string, accessToken: string): Promise<string[]> {
  const env = { NEXUS_TOKEN: accessToken, NEXUS_GATEWAY: address };
  const args = [CLI, "audit", "verify", "--without-witness"];
  const { code, stdout } = await command(process.execPath, args, { env });
  return code === 0 && stdout.startsWith("ok:") ? [] : [`nexus audit verify: ${stdout}`];
}
