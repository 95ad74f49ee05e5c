/** Holds the Kubernetes files to the code: ports, settings, probes, security and the edges of the call graph. */
import { basename, dirname } from "node:path";
import { ConfigManager, type ServiceName } from "@nexus/core";
import { memoryFlags } from "@nexus/devkit";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import {
  listVariables,
  loadServiceSchemas,
  SERVICE_NAMES,
  type ServiceSchema,
} from "../scripts/source/service-schemas.ts";
import {
  type Container,
  type DeploymentSpec,
  hasKubectl,
  type Manifest,
  type NetworkPolicySpec,
  type Peer,
  pick,
  ROOT,
  readManifests,
  readText,
  readYaml,
  renderOverlay,
  type Selector,
  type ServiceSpec,
} from "./_manifests.ts";

const PART_OF = "app.kubernetes.io/part-of";
const NAME = "app.kubernetes.io/name";
const SECOND_MS = 1000;
const KEY_BYTES = 32;
const LONG_SECRET = "s".repeat(64);
/** What keeps no state, or keeps it in Postgres and follows it there, may have replicas; the others may not. */
const SCALABLE: readonly ServiceName[] = ["gateway", "registry", "vault", "orchestrator"];
/** May have replicas with the bus between them, which production has. */
const SCALABLE_WITH_BUS: readonly ServiceName[] = ["mesh-router"];
/** Whose replicas call each other. */
const CALLS_ITSELF: readonly ServiceName[] = ["orchestrator"];
/** Its number of replicas is the autoscaler's business. */
const AUTOSCALED: readonly ServiceName[] = ["gateway"];

const schemas = await loadServiceSchemas(ROOT);
const files = new Map(SERVICE_NAMES.map((name) => [name, readManifests(`k8s/base/${name}.yaml`)]));

function schemaOf(name: ServiceName): ServiceSchema {
  const schema = schemas.get(name);
  if (schema === undefined) throw new Error(`no schema of ${name}`);
  return schema;
}

function manifestsOf(name: ServiceName): readonly Manifest[] {
  return files.get(name) ?? [];
}

function defaultOf(name: ServiceName, field: string): unknown {
  return schemaOf(name).fields[field]?.defaultValue;
}

function deploymentOf(name: ServiceName): DeploymentSpec {
  return pick<DeploymentSpec>(manifestsOf(name), "Deployment", name).spec;
}

function containerOf(name: ServiceName): Container {
  const [container] = deploymentOf(name).template.spec.containers;
  if (container === undefined) throw new Error(`${name} has no container`);
  return container;
}

function settingsOf(name: ServiceName): Record<string, string> {
  return pick(manifestsOf(name), "ConfigMap", name).data ?? {};
}

/** The Secret of a service: the keys that the head of its file names, with values of the right form. */
function secretsOf(name: ServiceName): Record<string, string> {
  const keys = /keys: (.*) \(/.exec(readText(`k8s/base/${name}.yaml`))?.[1] ?? "";
  return Object.fromEntries(
    keys.split(", ").map((key) => {
      if (key.endsWith("_URL")) return [key, "postgres://role:password@postgres:5432/nexus"];
      if (key.endsWith("_KEY")) return [key, Buffer.alloc(KEY_BYTES).toString("base64")];
      return [key, key.endsWith("_SERVICE_SECRETS") ? `gateway=${LONG_SECRET}` : LONG_SECRET];
    }),
  );
}

/** Ports by name as the code would open them with no setting at all. */
function portsOf(name: ServiceName): Record<string, unknown> {
  const http = defaultOf(name, "httpPort");
  return {
    grpc: defaultOf(name, "grpcPort"),
    ...(http === undefined ? {} : { http }),
    ops: defaultOf(name, "opsPort"),
  };
}

function namesOf(peers: readonly Peer[] = []): string[] {
  return peers.flatMap(({ podSelector }) => podSelector?.matchLabels[NAME] ?? []);
}

/** Whom a service calls, read from the addresses in its settings. */
function upstreamsOf(name: ServiceName): string[] {
  const addresses = Object.entries(settingsOf(name)).filter(([key]) => /_ADDRESS(ES)?$/.test(key));
  const peers = CALLS_ITSELF.filter((peer) => peer === name);
  const others = addresses.flatMap(([, value]) =>
    value.split(",").map((address) => address.replace(/^dns:\/\/\//, "").replace(/:\d+$/, "")),
  );
  return [...peers, ...others];
}

describe.each(SERVICE_NAMES)("k8s/base/%s.yaml", (name) => {
  const labels = { [NAME]: name, [PART_OF]: "nexus" };

  it("stands alone: account, settings, service, deployment, budget and policy in one namespace", () => {
    const manifests = manifestsOf(name);
    expect(manifests.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining([
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Deployment",
        "PodDisruptionBudget",
        "NetworkPolicy",
      ]),
    );
    expect(new Set(manifests.map(({ metadata }) => metadata.namespace))).toEqual(
      new Set(["nexus"]),
    );
  });

  it("opens the ports of the code, in settings, container and service alike", () => {
    const ports = portsOf(name);
    const prefix = `NEXUS_${name.toUpperCase().replace("-", "_")}`;
    const container = containerOf(name).ports.map((port) => [port.name, port.containerPort]);
    const service = pick<ServiceSpec>(manifestsOf(name), "Service", name).spec;
    expect(Object.fromEntries(container)).toEqual(ports);
    expect(Object.fromEntries(service.ports.map((port) => [port.name, port.port]))).toEqual(ports);
    expect(service.ports.map((port) => port.targetPort)).toEqual(Object.keys(ports));
    for (const [port, value] of Object.entries(ports)) {
      expect(settingsOf(name)[`${prefix}_${port.toUpperCase()}_PORT`]).toBe(String(value));
    }
  });

  it("is a headless service that says it speaks HTTP/2 in the clear", () => {
    const { clusterIP, ports } = pick<ServiceSpec>(manifestsOf(name), "Service", name).spec;
    expect(clusterIP).toBe("None");
    expect(ports.find((port) => port.name === "grpc")?.appProtocol).toBe("kubernetes.io/h2c");
  });

  it("sets only what the service reads", () => {
    const keys = Object.keys(settingsOf(name)).filter((key) => key !== "NODE_OPTIONS");
    const known = listVariables(schemaOf(name));
    expect(keys.filter((key) => !known.includes(key))).toEqual([]);
  });

  it("starts with these settings and its secrets, and with nothing else", () => {
    const env = { ...settingsOf(name), ...secretsOf(name) };
    ConfigManager.load(schemaOf(name), { env }).close();
  });

  it("probes the ops port, and restarts for nothing but a dead event loop", () => {
    const { startupProbe, readinessProbe, livenessProbe } = containerOf(name);
    expect(startupProbe.httpGet).toEqual({ path: "/live", port: "ops" });
    expect(livenessProbe.httpGet).toEqual({ path: "/live", port: "ops" });
    expect(readinessProbe.httpGet).toEqual({ path: "/ready", port: "ops" });
  });

  it("asks for the resources of the architecture, with a heap below the limit", () => {
    expect(containerOf(name).resources).toEqual({
      requests: { cpu: "100m", memory: "256Mi" },
      limits: { memory: "512Mi" },
    });
    expect(settingsOf(name)["NODE_OPTIONS"]).toBe(memoryFlags().join(" "));
  });

  it("meets the restricted pod security standard and holds no cluster token", () => {
    const { template } = deploymentOf(name);
    expect(template.spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 65532,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(containerOf(name).securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(template.spec.automountServiceAccountToken).toBe(false);
    expect(template.spec.serviceAccountName).toBe(name);
    const account = pick(manifestsOf(name), "ServiceAccount", name);
    expect(account.automountServiceAccountToken).toBe(false);
  });

  it("selects its own pods everywhere", () => {
    const manifests = manifestsOf(name);
    const budget = pick<{ selector: Selector }>(manifests, "PodDisruptionBudget", name).spec;
    const policy = pick<NetworkPolicySpec>(manifests, "NetworkPolicy", name).spec;
    expect(deploymentOf(name).template.metadata.labels).toEqual(labels);
    expect(deploymentOf(name).selector.matchLabels).toEqual(labels);
    expect(pick<ServiceSpec>(manifests, "Service", name).spec.selector).toEqual(labels);
    expect(budget.selector.matchLabels).toEqual(labels);
    expect(policy.podSelector.matchLabels).toEqual(labels);
  });

  it("reads its settings and its Secret by its own name", () => {
    expect(containerOf(name).envFrom).toEqual([
      { configMapRef: { name } },
      { secretRef: { name } },
    ]);
  });

  it("gives the service longer to end than its own grace", () => {
    const grace = deploymentOf(name).template.spec.terminationGracePeriodSeconds;
    const { seconds } = containerOf(name).lifecycle.preStop.sleep;
    const ownGrace = Number(defaultOf(name, "shutdownGraceMs")) / SECOND_MS;
    expect(grace).toBeGreaterThan(seconds + ownGrace);
  });

  it("runs once, and never twice during an update, unless it can be doubled", () => {
    const { replicas, strategy } = deploymentOf(name);
    expect(replicas).toBe(1);
    expect(strategy.type).toBe(SCALABLE.includes(name) ? "RollingUpdate" : "Recreate");
  });

  it("may call exactly the services whose addresses it is given", () => {
    const { egress } = pick<NetworkPolicySpec>(manifestsOf(name), "NetworkPolicy", name).spec;
    const edges = egress.flatMap(({ to, ports }) =>
      namesOf(to).map((target) => `${target}:${String(ports?.[0]?.port)}`),
    );
    const expected = upstreamsOf(name).map(
      (target) => `${target}:${String(defaultOf(target as ServiceName, "grpcPort"))}`,
    );
    expect(edges.sort()).toEqual(expected.sort());
  });

  it("is told the address of every service that its schema asks for", () => {
    const asked = Object.values(schemaOf(name).fields).filter(({ env }) =>
      /_ADDRESS(ES)?$/.test(env),
    );
    expect(Object.keys(settingsOf(name))).toEqual(
      expect.arrayContaining(asked.map(({ env }) => env)),
    );
  });

  it("tells its replicas at which address of its own they reach it, where they call each other", () => {
    const env = new Map((containerOf(name).env ?? []).map((entry) => [entry.name, entry.value]));
    const port = String(defaultOf(name, "grpcPort"));
    const told = env.get(`NEXUS_${name.replaceAll("-", "_").toUpperCase()}_ADVERTISE`);
    expect(told).toBe(CALLS_ITSELF.includes(name) ? `$(POD_IP):${port}` : undefined);
  });

  it("lets in exactly those that call it", () => {
    const { ingress } = pick<NetworkPolicySpec>(manifestsOf(name), "NetworkPolicy", name).spec;
    const callers = SERVICE_NAMES.filter((other) => upstreamsOf(other).includes(name));
    expect(ingress.flatMap(({ from }) => namesOf(from)).sort()).toEqual([...callers].sort());
  });
});

describe("vault's root key", () => {
  it("is a Secret of its own that is mounted as a file for the pod's user and never lies in the environment", () => {
    const path = settingsOf("vault")["NEXUS_VAULT_ROOT_KEY_FILE"] ?? "";
    const { volumes = [] } = deploymentOf("vault").template.spec;
    const mount = containerOf("vault").volumeMounts?.find(({ name }) => name === "root-key");
    expect(mount).toEqual({ name: "root-key", mountPath: dirname(path), readOnly: true });
    expect(volumes.find(({ name }) => name === "root-key")).toEqual({
      name: "root-key",
      secret: { secretName: "vault-root-key", defaultMode: 0o400 },
    });
    expect(readText("k8s/README.md")).toContain(`| \`vault-root-key\` | \`${basename(path)}\``);
    const inEnvironment = { ...settingsOf("vault"), ...secretsOf("vault") };
    expect(Object.keys(inEnvironment)).not.toContain("NEXUS_VAULT_ROOT_KEY");
    expect(deploymentOf("vault").template.spec.securityContext).toMatchObject({
      runAsGroup: 65532,
      fsGroup: 65532,
    });
  });
});

describe("k8s/base", () => {
  it("lists every file, denies what no policy allows and enforces the restricted standard", () => {
    const { resources } = readYaml<{ resources: string[] }>("k8s/base/kustomization.yaml");
    const expected = ["namespace.yaml", ...SERVICE_NAMES.map((name) => `${name}.yaml`)];
    expect([...resources].sort()).toEqual(expected.sort());
    const manifests = readManifests("k8s/base/namespace.yaml");
    const policy = pick<NetworkPolicySpec>(manifests, "NetworkPolicy", "default-deny").spec;
    expect(policy).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    expect(pick(manifests, "Namespace", "nexus").metadata).toMatchObject({
      labels: { "pod-security.kubernetes.io/enforce": "restricted" },
    });
  });
});

describe("k8s/components/mutual-tls", () => {
  const folder = "k8s/components/mutual-tls";
  const component = readYaml<{ patches: { target: { name?: string }; patch: string }[] }>(
    `${folder}/kustomization.yaml`,
  );
  const { data = {} } = pick(readManifests(`${folder}/settings.yaml`), "ConfigMap", "nexus-tls");
  const patches = component.patches.map(({ target, patch }) => ({
    name: target.name,
    operations: parse(patch) as { path: string; value: Record<string, unknown> }[],
  }));

  it.each(SERVICE_NAMES)("has settings with which %s starts, beside its own", (name) => {
    const env = { ...settingsOf(name), ...secretsOf(name), ...data };
    const config = ConfigManager.load(schemaOf(name), { env });
    expect(config.current).toMatchObject({ tlsMode: "mutual" });
    config.close();
    expect(Object.keys(data).filter((key) => !listVariables(schemaOf(name)).includes(key))).toEqual(
      [],
    );
  });

  it("mounts the Secret of each service, for its own user, where the settings look", () => {
    const everywhere = patches.flatMap(({ name, operations }) =>
      name === undefined ? operations : [],
    );
    const mount = everywhere.find(({ path }) => path.endsWith("/volumeMounts/-"))?.value;
    expect(mount).toEqual({ name: "tls", mountPath: "/etc/nexus/tls", readOnly: true });
    const files = ["CERT", "KEY", "CA"].map((part) => data[`NEXUS_TLS_${part}_FILE`] ?? "");
    expect(files.map((file) => dirname(file))).toEqual(files.map(() => mount?.["mountPath"]));
    expect(files.map((file) => basename(file))).toEqual(["tls.crt", "tls.key", "ca.crt"]);
    const volumes = patches.flatMap(({ name, operations }) =>
      name === undefined ? [] : operations.map(({ path, value }) => [name, path, value]),
    );
    expect(volumes).toEqual(
      SERVICE_NAMES.map((name) => [
        name,
        "/spec/template/spec/volumes/-",
        { name: "tls", secret: { secretName: `${name}-tls`, defaultMode: 0o400 } },
      ]),
    );
  });

  it("asks cert-manager for certificates that name each service and nothing else", () => {
    const manifests = readManifests(`${folder}/certificates.yaml`);
    for (const name of SERVICE_NAMES) {
      const { spec } = pick<Record<string, unknown>>(manifests, "Certificate", `${name}-tls`);
      expect(spec).toMatchObject({
        secretName: `${name}-tls`,
        uris: [`spiffe://${data["NEXUS_TLS_TRUST_DOMAIN"]}/nexus/${name}`],
        usages: ["digital signature", "server auth", "client auth"],
        issuerRef: { name: "nexus-ca", kind: "Issuer" },
      });
      // Only users check hosts, and they only dial the gateway.
      expect(spec["dnsNames"] === undefined, name).toBe(name !== "gateway");
    }
  });
});

const kubectl = hasKubectl();

describe("k8s/overlays", () => {
  it.skipIf(!kubectl)("local renders with kubectl, one of each (skipped without kubectl)", () => {
    const manifests = renderOverlay("k8s/overlays/local");
    for (const name of SERVICE_NAMES) {
      const { replicas, template } = pick<DeploymentSpec>(manifests, "Deployment", name).spec;
      expect(replicas, name).toBe(1);
      expect(template.spec.containers[0]?.image).toBe(`nexus/${name}:dev`);
    }
  });

  it.skipIf(!kubectl)("production doubles what can be doubled (skipped without kubectl)", () => {
    const manifests = renderOverlay("k8s/overlays/production");
    for (const name of SERVICE_NAMES) {
      const { replicas, template } = pick<DeploymentSpec>(manifests, "Deployment", name).spec;
      const several = [...SCALABLE, ...SCALABLE_WITH_BUS].includes(name) ? 2 : 1;
      expect(replicas, name).toBe(AUTOSCALED.includes(name) ? undefined : several);
      expect(template.spec.containers[0]?.image).toMatch(/:\d+\.\d+\.\d+$/);
    }
    for (const name of SCALABLE_WITH_BUS) {
      const { data } = pick<{ data: Record<string, string> }>(
        manifests,
        "ConfigMap",
        name,
      ) as never;
      expect(data).toMatchObject({ NEXUS_BUS_DRIVER: "redis" });
      expect(data).not.toHaveProperty("NEXUS_MESH_ROUTER_ID");
    }
    for (const name of AUTOSCALED) {
      const scaler = pick<{ minReplicas: number }>(manifests, "HorizontalPodAutoscaler", name);
      expect(scaler.spec.minReplicas).toBe(2);
    }
  });
});
