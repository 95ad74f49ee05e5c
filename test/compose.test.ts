/** Holds docker-compose.yml, its example secrets, its SQL and the Dockerfile to the code. */
import { ConfigManager, type ServiceName } from "@nexus/core";
import { COLLECTION_FLAGS } from "@nexus/devkit";
import { describe, expect, it } from "vitest";
import {
  listVariables,
  loadServiceSchemas,
  SERVICE_NAMES,
  type ServiceSchema,
} from "../scripts/source/service-schemas.ts";
import {
  type DeploymentSpec,
  pick,
  ROOT,
  readManifests,
  readText,
  readYaml,
} from "./_manifests.ts";

interface ComposeService {
  readonly image: string;
  readonly build?: { readonly args: Record<string, string> };
  readonly environment?: Record<string, string | number>;
  readonly ports?: readonly string[];
  readonly depends_on?: Record<string, { condition: string }>;
  readonly healthcheck: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly mem_limit?: string;
}

interface Scrape {
  readonly targets: readonly string[];
}

const VARIABLE = /\$\{([A-Z_]+):\?/g;
const LONG_SECRET = "s".repeat(64);
const BASE64_KEY = Buffer.alloc(32).toString("base64");
/** Whom a service calls only once it serves, and does without meanwhile: these wait for it, so it cannot wait for them. */
const CALLED_LATER: Readonly<Record<string, readonly string[]>> = { vault: ["orchestrator"] };
const STORES = ["postgres", "redis", "prometheus"];

const schemas = await loadServiceSchemas(ROOT);
const compose = readYaml<{ services: Record<string, ComposeService> }>("docker-compose.yml");

function serviceOf(name: string): ComposeService {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`compose has no ${name}`);
  return service;
}

function schemaOf(name: ServiceName): ServiceSchema {
  const schema = schemas.get(name);
  if (schema === undefined) throw new Error(`no schema of ${name}`);
  return schema;
}

/** The environment of a service as Compose would pass it, every secret being one long word. */
function environmentOf(name: string): Array<[string, string]> {
  return Object.entries(serviceOf(name).environment ?? {}).map(([key, value]) => [
    key,
    String(value).replaceAll(/\$\{([A-Z_]+):\?[^}]*\}/g, (_, asked: string) =>
      asked.endsWith("_KEY") ? BASE64_KEY : LONG_SECRET,
    ),
  ]);
}

function portOf(name: ServiceName, field: string): string {
  return String(schemaOf(name).fields[field]?.defaultValue);
}

describe("docker-compose.yml", () => {
  it("runs the six services and their stores", () => {
    const expected = [...SERVICE_NAMES, ...STORES].sort();
    expect(Object.keys(compose.services).sort()).toEqual(expected);
  });

  it.each(SERVICE_NAMES)("gives %s only settings that it reads", (name) => {
    const keys = environmentOf(name).flatMap(([key]) => (key === "NODE_OPTIONS" ? [] : [key]));
    const known = listVariables(schemaOf(name));
    expect(keys.filter((key) => !known.includes(key))).toEqual([]);
  });

  it.each(SERVICE_NAMES)(
    "gives %s everything that it needs to start, in a form that it takes",
    (name) => {
      const env = Object.fromEntries(environmentOf(name));
      const config = ConfigManager.load(schemaOf(name), { env });
      config.close();
    },
  );

  it.each(SERVICE_NAMES)("gives %s the memory and the heap that it has on Kubernetes", (name) => {
    const { mem_limit: limit = "" } = serviceOf(name);
    const manifests = readManifests(`k8s/base/${name}.yaml`);
    const [container] = pick<DeploymentSpec>(manifests, "Deployment", name).spec.template.spec
      .containers;
    expect(`${Number.parseInt(limit, 10)}Mi`).toBe(container?.resources.limits["memory"]);
    const { data = {} } = pick(manifests, "ConfigMap", name);
    const settings = Object.fromEntries(environmentOf(name));
    for (const key of ["NODE_OPTIONS", "NEXUS_MESH_ROUTER_SESSIONS_MAX"]) {
      expect(settings[key], key).toBe(data[key]);
    }
  });

  it.each(SERVICE_NAMES)("builds %s by its folder and asks its ops port for its health", (name) => {
    const service = serviceOf(name);
    expect(service.build?.args).toEqual({ SERVICE: name });
    expect(service.healthcheck.test.join(" ")).toContain(
      `http://127.0.0.1:${portOf(name, "opsPort")}/ready`,
    );
    expect(service.read_only).toBe(true);
  });

  it.each(SERVICE_NAMES)("starts %s after everything that it calls at its start", (name) => {
    const later = CALLED_LATER[name] ?? [];
    const called = environmentOf(name)
      .filter(([key]) => /_ADDRESS(ES)?$/.test(key))
      .map(([, value]) => value.replace(/:\d+$/, ""));
    expect(called).toEqual(expect.arrayContaining([...later]));
    // Two that call each other have one order: orchestrators connect to mesh-routers.
    const waitsForIt = (one: string) => name in (serviceOf(one).depends_on ?? {});
    const first = called.filter((one) => !later.includes(one) && !waitsForIt(one));
    const awaited = Object.keys(serviceOf(name).depends_on ?? {});
    expect(awaited).toEqual(expect.arrayContaining(first));
    expect(awaited.filter((one) => later.includes(one))).toEqual([]);
    for (const dependency of Object.values(serviceOf(name).depends_on ?? {})) {
      expect(dependency.condition).toBe("service_healthy");
    }
  });

  it("opens only the gateway and Prometheus to the host, on loopback", () => {
    const open = Object.entries(compose.services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    );
    const [grpc, http] = [portOf("gateway", "grpcPort"), portOf("gateway", "httpPort")];
    expect(open.sort()).toEqual([
      `gateway 127.0.0.1:${grpc}:${grpc}`,
      `gateway 127.0.0.1:${http}:${http}`,
      "prometheus 127.0.0.1:9090:9090",
    ]);
  });

  it("holds no secret, and .env.example names each one that it asks for, without a value", () => {
    const asked = [...readText("docker-compose.yml").matchAll(VARIABLE)].map(
      (match) => match[1] ?? "",
    );
    const example = readText(".env.example").split("\n");
    const named = example.filter((line) => /^[A-Z_]+=/.test(line));
    expect(named.every((line) => line.endsWith("="))).toBe(true);
    expect(named.map((line) => line.slice(0, -1)).sort()).toEqual([...new Set(asked)].sort());
    expect(readText("docker-compose.yml")).not.toMatch(/(PASSWORD|SECRET)S?: (?!\$\{|>-)/);
  });
});

describe("docker/init.sql", () => {
  it("makes the role and the schema of every database address in Compose", () => {
    const sql = readText("docker/init.sql");
    const urls = SERVICE_NAMES.flatMap((name) =>
      environmentOf(name).filter(([key]) => key.endsWith("_DATABASE_URL")),
    ).map(([, value]) => new URL(value));
    expect(urls).toHaveLength(SERVICE_NAMES.length - 1);
    for (const { username, pathname } of urls) {
      expect(pathname).toBe("/nexus");
      expect(sql).toContain(`CREATE ROLE ${username} LOGIN NOCREATEDB NOCREATEROLE PASSWORD`);
      expect(sql).toContain(`AUTHORIZATION ${username};`);
    }
  });

  it("reads every password that Compose passes to Postgres", () => {
    const passwords = Object.keys(serviceOf("postgres").environment ?? {}).filter((key) =>
      key.endsWith("_DATABASE_PASSWORD"),
    );
    for (const key of passwords) expect(readText("docker/init.sql")).toContain(` ${key}\n`);
  });
});

describe("docker/prometheus.yml", () => {
  it("scrapes the ops port of every service", () => {
    const config = readYaml<{ scrape_configs: ReadonlyArray<{ static_configs: Scrape[] }> }>(
      "docker/prometheus.yml",
    );
    const targets = config.scrape_configs.flatMap(({ static_configs }) =>
      static_configs.flatMap((scrape) => scrape.targets),
    );
    const expected = SERVICE_NAMES.map((name) => `${name}:${portOf(name, "opsPort")}`);
    expect(targets.sort()).toEqual(expected.sort());
  });
});

describe("Dockerfile", () => {
  it("runs as nobody in particular and names no package", () => {
    const text = readText("Dockerfile");
    expect(text).toContain("USER 65532:65532");
    expect(text).not.toMatch(/@nexus\/[a-z]/);
    expect(text).not.toMatch(/^(ARG|ENV) .*(PASSWORD|SECRET|TOKEN)/m);
  });

  it("starts node as the supervisor of a local stack does", () => {
    const command = ["node", ...COLLECTION_FLAGS, "dist/bundle.js"];
    expect(readText("Dockerfile")).toContain(
      `CMD ${JSON.stringify(command).replaceAll(",", ", ")}`,
    );
  });

  it("keeps secrets and local files out of the build", () => {
    const ignored = readText(".dockerignore").split("\n");
    expect(ignored).toEqual(
      expect.arrayContaining([".git", ".env", ".nexus", "**/node_modules", "**/dist"]),
    );
  });
});
