import { existsSync, readFileSync, statSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  findRedisServer,
  SERVICE_NAMES,
  type Stack,
  type StackInfo,
  startStack,
} from "@nexus/devkit";
import { createPool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { processIdentity } from "../src/process-identity.ts";

const ENTRY = fileURLToPath(new URL("./_fixture-service.mjs", import.meta.url));
const redisProgram = findRedisServer();
const where = redisProgram ?? "NOT RUN: no redis-server or valkey-server on the PATH";
/** Seven processes each time, on a machine that may be busy with other tests. */
const SLOW = { timeout: 120_000 };
let folder: string;
let stack: Stack | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "nexus-devkit-"));
  // As root, the database runs as a user who has to reach this.
  await chmod(folder, 0o755);
});

afterEach(async () => {
  await stack?.stop();
  stack = undefined;
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<Parameters<typeof startStack>[0]> = {}): Promise<Stack> {
  stack = await startStack({
    dataDir: join(folder, "one"),
    portBase: "free",
    durable: false,
    entryOf: () => ENTRY,
    ...options,
  });
  return stack;
}

async function environmentOf(info: StackInfo, name: keyof StackInfo["services"]) {
  const response = await fetch(`${info.services[name]?.ops}/env`);
  return (await response.json()) as Record<string, string>;
}

function pidsOf(info: StackInfo): number[] {
  return [info.postgres.pid, ...Object.values(info.services).map((service) => service.pid)];
}

describe("startStack", SLOW, () => {
  it("starts six processes that are told where everything is", async () => {
    const { info, admin } = await start({ logLevel: "debug" });
    const gateway = await environmentOf(info, "gateway");
    expect(gateway).toMatchObject({
      NEXUS_SUPERVISED: "1",
      NEXUS_GATEWAY_HOST: "127.0.0.1",
      NEXUS_GATEWAY_LOG_LEVEL: "debug",
      NEXUS_GATEWAY_GRPC_PORT: info.gateway.split(":")[1],
      NEXUS_GATEWAY_HTTP_PORT: info.http.split(":")[2],
      NEXUS_GATEWAY_VAULT_ADDRESS: info.services.vault.grpc,
      NEXUS_GATEWAY_REGISTRY_ADDRESS: info.services.registry.grpc,
      NEXUS_GATEWAY_ORCHESTRATOR_ADDRESS: info.services.orchestrator.grpc,
      NEXUS_GATEWAY_MESH_ROUTER_ADDRESS: info.services["mesh-router"].grpc,
      NEXUS_GATEWAY_INSIGHT_ADDRESS: info.services.insight.grpc,
    });
    expect(gateway).not.toHaveProperty("NEXUS_GATEWAY_DATABASE_URL");
    const orchestrator = await environmentOf(info, "orchestrator");
    expect(orchestrator).toMatchObject({
      NEXUS_ORCHESTRATOR_REGISTRY_ADDRESS: info.services.registry.grpc,
      NEXUS_ORCHESTRATOR_MESH_ROUTER_ADDRESSES: info.services["mesh-router"].grpc,
      NEXUS_ORCHESTRATOR_INSIGHT_ADDRESS: info.services.insight.grpc,
    });
    const vault = await environmentOf(info, "vault");
    expect(vault["NEXUS_BOOTSTRAP_ADMIN_PASSWORD"]).toBe(admin.password);
    expect(vault["NEXUS_VAULT_BOOTSTRAP_SERVICE_SECRETS"]).toContain(
      `orchestrator=${orchestrator["NEXUS_ORCHESTRATOR_CLIENT_SECRET"]}`,
    );
    expect(vault).not.toHaveProperty("NEXUS_VAULT_CLIENT_SECRET");
  });

  it("starts several orchestrators, each with a name of its own, behind one address", async () => {
    const { info, processes } = await start({
      orchestrators: 3,
      env: (name, own) =>
        name === "orchestrator-3" ? { SEEN: own["NEXUS_SUPERVISED"] ?? "" } : {},
    });
    const names = ["orchestrator", "orchestrator-2", "orchestrator-3"] as const;
    const addresses = names.map((name) => info.services[name]?.grpc);
    const gateway = await environmentOf(info, "gateway");
    expect(gateway["NEXUS_GATEWAY_ORCHESTRATOR_ADDRESS"]).toBe(`ipv4:${addresses.join(",")}`);
    for (const [index, name] of names.entries()) {
      const own = await environmentOf(info, name);
      expect(own["NEXUS_ORCHESTRATOR_ID"]).toBe(name);
      expect(`127.0.0.1:${own["NEXUS_ORCHESTRATOR_GRPC_PORT"]}`).toBe(addresses[index]);
      expect(own["SEEN"]).toBe(name === "orchestrator-3" ? "1" : undefined);
    }
    await processes.kill("orchestrator-2");
    await processes.waitReady("orchestrator-2");
    expect(stack?.info.services["orchestrator-2"]?.pid).not.toBe(
      info.services["orchestrator-2"]?.pid,
    );
    expect(stack?.info.services.orchestrator.pid).toBe(info.services.orchestrator.pid);
  });

  it.skipIf(redisProgram === undefined)(
    `starts several mesh-routers with a Redis between them (${where})`,
    async () => {
      const { info, processes } = await start({ meshRouters: 2 });
      const names = ["mesh-router", "mesh-router-2"] as const;
      const addresses = names.map((name) => info.services[name]?.grpc);
      const gateway = await environmentOf(info, "gateway");
      expect(gateway["NEXUS_GATEWAY_MESH_ROUTER_ADDRESS"]).toBe(`ipv4:${addresses.join(",")}`);
      const orchestrator = await environmentOf(info, "orchestrator");
      expect(orchestrator["NEXUS_ORCHESTRATOR_MESH_ROUTER_ADDRESSES"]).toBe(addresses.join(","));
      const urls = new Set<string>();
      for (const name of names) {
        const own = await environmentOf(info, name);
        expect(own).toMatchObject({ NEXUS_MESH_ROUTER_ID: name, NEXUS_BUS_DRIVER: "redis" });
        urls.add(own["NEXUS_REDIS_URL"] ?? "");
      }
      expect(urls.size).toBe(1);
      expect([...urls][0]).toMatch(new RegExp(`^redis://:.+@127\\.0\\.0\\.1:${info.redis?.port}$`));
      const { pid } = info.redis ?? { pid: 0 };
      process.kill(pid, "SIGKILL");
      await waitFor(() => ![0, pid].includes(stack?.info.redis?.pid ?? 0), {
        what: "the Redis to come back by itself",
      });
      await processes.kill("redis");
      await processes.stop("redis");
      expect(stack?.info.redis?.pid).toBe(0);
      await processes.start("redis");
      expect(stack?.info.redis?.pid).toBeGreaterThan(0);
    },
  );

  it.each(["orchestrators", "meshRouters"])(
    "refuses more %s than it has ports for",
    async (what) => {
      await expect(start({ [what]: 17 })).rejects.toThrow(`${what} must be`);
    },
  );

  it("gives each service a database role that reaches its own schema only", async () => {
    const { info } = await start();
    const { NEXUS_MESH_ROUTER_DATABASE_URL: url } = await environmentOf(info, "mesh-router");
    const pool = createPool({ url: url!, max: 1, applicationName: "t", schema: "mesh" });
    await pool.query("CREATE TABLE IF NOT EXISTS mine (id int)");
    await expect(pool.query("CREATE TABLE vault.theirs (id int)")).rejects.toMatchObject({
      reason: "DATABASE_ERROR",
    });
    await pool.close();
  });

  it("lets this process look at the database server itself", async () => {
    const { postgresUrl, info } = await start();
    expect(new URL(postgresUrl).port).toBe(String(info.postgres.port));
    const pool = createPool({ url: postgresUrl, max: 1, applicationName: "t", schema: "public" });
    const { rows } = await pool.query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user");
    expect(rows).toEqual([{ rolsuper: true }]);
    await pool.close();
  });

  it("has every service write a CPU profile of its life when that is wanted", async () => {
    const profileDir = join(folder, "profiles");
    const profiled = await start({ profileDir });
    await profiled.stop();
    for (const name of SERVICE_NAMES) {
      const text = readFileSync(join(profileDir, `${name}.cpuprofile`), "utf8");
      expect(JSON.parse(text), name).toHaveProperty("nodes");
    }
  });

  it("keeps data and secrets for the next start, readable by their owner only", async () => {
    const first = await start();
    const secrets = await environmentOf(first.info, "registry");
    const file = first.info.adminCredentialsFile;
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(first.admin);
    for (const name of ["secrets.json", "admin-credentials.json", "root.key"]) {
      expect(statSync(join(folder, "one", name)).mode & 0o777).toBe(0o600);
    }
    await first.stop();
    const second = await start();
    expect(second.admin).toEqual(first.admin);
    const again = await environmentOf(second.info, "registry");
    const key = "NEXUS_REGISTRY_CLIENT_SECRET";
    expect(again[key]).toBe(secrets[key]);
  });

  it("writes stack.json while it runs, and leaves no process behind", async () => {
    const { info, stop } = await start();
    const file = join(folder, "one", "stack.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(info);
    await stop();
    expect(existsSync(file)).toBe(false);
    expect(pidsOf(info).filter((pid) => processIdentity(pid) !== undefined)).toEqual([]);
  });

  it("starts a process again that died, under a new pid", async () => {
    const { info, processes } = await start();
    const file = join(folder, "one", "stack.json");
    process.kill(info.services.insight.pid, "SIGKILL");
    const published = await waitFor(
      () => {
        const now = (JSON.parse(readFileSync(file, "utf8")) as StackInfo).services.insight.pid;
        return now !== 0 && now !== info.services.insight.pid ? now : undefined;
      },
      { what: "the new pid in stack.json", timeoutMs: 60_000 },
    );
    await processes.waitReady("insight");
    expect(stack?.info.services.insight.pid).toBe(published);
  });

  it("plays faults: kill, restart, stop and start, of services and of the database", async () => {
    const { info, processes } = await start();
    await processes.kill("orchestrator");
    await processes.waitReady("orchestrator");
    await processes.restart("gateway");
    await processes.kill("postgres");
    await processes.stop("registry");
    expect(stack?.info.services.registry.pid).toBe(0);
    await processes.start("registry");
    const now = stack!.info;
    for (const name of ["orchestrator", "gateway", "registry"] as const) {
      expect(now.services[name].pid).not.toBe(info.services[name].pid);
    }
    expect(now.postgres.pid).not.toBe(info.postgres.pid);
    expect(now.services.vault.pid).toBe(info.services.vault.pid);
  });

  it("starts the database again when it dies", async () => {
    const { info } = await start();
    process.kill(info.postgres.pid, "SIGKILL");
    await waitFor(() => stack?.info.postgres.pid !== info.postgres.pid, {
      what: "a new server",
      timeoutMs: 60_000,
    });
  });

  it("runs two stacks side by side", async () => {
    const one = await start();
    const two = await startStack({
      dataDir: join(folder, "two"),
      portBase: "free",
      durable: false,
      entryOf: () => ENTRY,
    });
    expect(two.admin.password).not.toBe(one.admin.password);
    expect(pidsOf(two.info)).not.toEqual(expect.arrayContaining([one.info.postgres.pid]));
    await two.stop();
    await expect(environmentOf(one.info, "vault")).resolves.toBeDefined();
  });
});

describe("startStack that cannot start", SLOW, () => {
  it("refuses a data directory that a live stack uses", async () => {
    await start();
    const second = startStack({ dataDir: join(folder, "one"), portBase: "free" });
    await expect(second).rejects.toMatchObject({
      reason: "DATA_DIR_IN_USE",
      message: expect.stringContaining("--data-dir"),
    });
  });

  it("names every port in use and the flag, before it starts anything", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
    const { port } = holder.address() as { port: number };
    // The port that is taken is the registry's: base + 1.
    await expect(start({ dataDir: join(folder, "new"), portBase: port - 1 })).rejects.toMatchObject(
      {
        reason: "PORT_IN_USE",
        message: expect.stringMatching(new RegExp(`${port} \\(registry\\).*--port-base`)),
      },
    );
    expect(existsSync(join(folder, "new", "pg"))).toBe(false);
    await new Promise((resolve) => holder.close(resolve));
  });

  it("starts on other free ports when one was taken before it could listen", async () => {
    const holder = createServer((socket) => socket.destroy());
    const notices: string[] = [];
    const { info } = await start({
      env: (name, own) => {
        const wanted = Number(own["NEXUS_INSIGHT_OPS_PORT"]);
        if (name === "insight" && !holder.listening) holder.listen(wanted, "127.0.0.1");
        return {};
      },
      onNotice: (notice) => notices.push(notice),
    });
    const { port } = holder.address() as AddressInfo;
    expect(notices).toEqual([expect.stringContaining(`${port} (insight ops)`)]);
    expect(info.services.insight.ops).not.toContain(`:${port}`);
    await environmentOf(info, "insight");
    await new Promise((resolve) => holder.close(resolve));
  });

  it("shows the last log lines of a service that ends, and leaves nothing running", async () => {
    const failing = start({ env: { FIXTURE_MODE_VAULT: "crash" } });
    await expect(failing).rejects.toMatchObject({
      reason: "STACK_START_FAILED",
      message: expect.stringMatching(/vault.*exit code 3[\s\S]*the fixture cannot go on/),
    });
    await expect(start()).resolves.toBeDefined();
  });

  it("ends a start that is called off", async () => {
    const controller = new AbortController();
    const env = { FIXTURE_MODE: "never-ready" };
    const starting = start({ env, signal: controller.signal });
    const pg = join(folder, "one", "pg", "cluster", "postmaster.pid");
    const outcome = starting.catch((error: unknown) => error);
    await waitFor(() => existsSync(pg), { what: "the database", timeoutMs: 60_000 });
    controller.abort(new Error("called off"));
    expect(await outcome).toMatchObject({ message: "called off" });
    expect(existsSync(pg)).toBe(false);
  });
});
