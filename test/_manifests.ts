import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

export const ROOT = join(import.meta.dirname, "..");

export interface Selector {
  readonly matchLabels: Record<string, string>;
}

export interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
}

export interface PolicyRule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: ReadonlyArray<{ readonly port: number | string }>;
}

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds?: number;
  readonly failureThreshold?: number;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly envFrom: ReadonlyArray<
    Record<"configMapRef" | "secretRef", { name: string } | undefined>
  >;
  readonly env?: ReadonlyArray<{ readonly name: string; readonly value?: string }>;
  readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>;
  readonly volumeMounts?: ReadonlyArray<{ readonly name: string; readonly mountPath: string }>;
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
  readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly resources: {
    readonly requests: Record<string, string>;
    readonly limits: Record<string, string>;
  };
  readonly securityContext: Record<string, unknown>;
}

/** The parts of a Kubernetes object that the policy tests read; each kind fills its own. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Record<string, string>;
  readonly automountServiceAccountToken?: boolean;
  readonly spec?: unknown;
}

export interface DeploymentSpec {
  readonly replicas?: number;
  readonly strategy: { readonly type: string };
  readonly selector: Selector;
  readonly template: {
    readonly metadata: { readonly labels: Record<string, string> };
    readonly spec: {
      readonly serviceAccountName: string;
      readonly automountServiceAccountToken: boolean;
      readonly terminationGracePeriodSeconds: number;
      readonly securityContext: Record<string, unknown>;
      readonly containers: readonly Container[];
      readonly volumes?: ReadonlyArray<{ readonly name: string }>;
    };
  };
}

export interface ServiceSpec {
  readonly clusterIP?: string;
  readonly selector: Record<string, string>;
  readonly ports: ReadonlyArray<{
    readonly name: string;
    readonly port: number;
    readonly targetPort: string;
    readonly appProtocol: string;
  }>;
}

export interface NetworkPolicySpec {
  readonly podSelector: Selector;
  readonly policyTypes: readonly string[];
  readonly ingress: readonly PolicyRule[];
  readonly egress: readonly PolicyRule[];
}

/** Reads a file of the repository. */
export function readText(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}

/** Parses every document of a YAML file; a syntax error throws. */
export function readManifests(file: string): Manifest[] {
  return parseManifests(readText(file));
}

export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}

/** Reads one YAML file that holds one value, with `<<` merged as Compose does. */
export function readYaml<T>(file: string): T {
  return parse(readText(file), { merge: true }) as T;
}

/** Finds the one object of a kind and name. */
export function pick<S>(
  manifests: readonly Manifest[],
  kind: string,
  name: string,
): Manifest & { spec: S } {
  const found = manifests.filter((entry) => entry.kind === kind && entry.metadata.name === name);
  if (found.length !== 1) throw new Error(`${found.length} objects ${kind}/${name}, not one`);
  return found[0] as Manifest & { spec: S };
}

/** Says whether kubectl is there; the render tests need it and nothing else does. */
export function hasKubectl(): boolean {
  try {
    execFileSync("kubectl", ["version", "--client"], { stdio: "ignore" });
    return true;
  } catch {
    // Absent or broken: either way it cannot render.
    return false;
  }
}

/** Renders an overlay offline. The server address leads nowhere, so that no cluster is ever asked. */
export function renderOverlay(folder: string): Manifest[] {
  const args = ["--server=http://127.0.0.1:1", "kustomize", folder];
  return parseManifests(execFileSync("kubectl", args, { cwd: ROOT, encoding: "utf8" }));
}

/** An alert of a PrometheusRule. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

const SERVICES_IN_METRICS = [
  "gateway",
  "registry",
  "orchestrator",
  "mesh_router",
  "vault",
  "insight",
];

/** The alerts of the monitoring component. */
export function readAlertRules(): AlertRule[] {
  const file = "k8s/components/monitoring/rules.yaml";
  const { spec } = pick<{ groups: { rules: AlertRule[] }[] }>(
    readManifests(file),
    "PrometheusRule",
    "nexus",
  );
  return spec.groups.flatMap(({ rules }) => rules);
}

/** The metrics of NEXUS that an expression reads; `nexus_(a|b)_c` are those of the services named. */
export function metricsOf({ expr }: AlertRule): string[] {
  const plain = expr.replaceAll(/"nexus_\(([^)]+)\)_([a-z_]+)"/g, (_, services: string, rest) =>
    services
      .split("|")
      .map((service) => `nexus_${service}_${rest}`)
      .join(" "),
  );
  return plain.match(/\bnexus_[a-z0-9_]+/g) ?? [];
}

/** Which service a metric is of; undefined for one that all have. */
export function serviceOfMetric(metric: string): string | undefined {
  const found = SERVICES_IN_METRICS.find((service) => metric.startsWith(`nexus_${service}_`));
  return found?.replace("_", "-");
}
