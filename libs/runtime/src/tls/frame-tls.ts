import { ConfigError, type ConfigManager } from "@nexus/core";
import { contextOptions, type TlsOptions } from "@nexus/rpc";
import type { Logger } from "@nexus/shared";
import type { Metrics, OpsTls } from "@nexus/telemetry";
import type { FrameConfig } from "../frame-config.ts";
import type { TlsFileProblem, TlsFileSet } from "./read-tls-files.ts";
import { TlsFiles, type TlsReload } from "./tls-files.ts";

/** The TLS of one service: one pair of certificate and key for its ports and its calls. */
export interface FrameTls {
  readonly files: TlsFiles;
  /** For a port behind the edge: in mode `mutual` it takes calls of services only. */
  readonly inner: TlsOptions;
  /** For a port that users and agents reach: they have tokens and no certificates. */
  readonly edge: TlsOptions;
  /** For the operators' port; undefined where it stays plain. */
  readonly ops: OpsTls | undefined;
  /** For a channel to a service by its name, or to somebody else by the host that is dialled. */
  channel(peer: string | undefined): TlsOptions;
}

/** What openFrameTls needs. */
export interface FrameTlsOptions {
  readonly service: string;
  readonly config: FrameConfig;
  readonly nowMs: () => number;
}

const VARIABLES: Readonly<Record<TlsFileProblem["file"], string>> = {
  cert: "NEXUS_TLS_CERT_FILE",
  key: "NEXUS_TLS_KEY_FILE",
  ca: "NEXUS_TLS_CA_FILE",
};
/** Where a service without a certificate comes to its first one; the contracts say by which methods. */
const ISSUER = "vault";
const GATEWAY = "gateway";

/** Reads the certificates; undefined when the mode is `off`. Files that vault's certificates will be written to may be missing or
 * out of date. Errors: ConfigError naming everything that is wrong with them. */
export function openFrameTls({ service, config, nowMs }: FrameTlsOptions): FrameTls | undefined {
  const set = fileSetOf(service, config);
  if (set === undefined) return undefined;
  const files = new TlsFiles(set, nowMs);
  const reload = files.reload();
  if (reload.outcome === "refused" && config.tlsIssuer === "files") {
    throw filesError(service, reload.problems);
  }
  const mutual = config.tlsMode === "mutual";
  const named = isNamed(config);
  const trustDomain = config.tlsTrustDomain;
  const edge: TlsOptions = { source: files };
  return {
    files,
    edge,
    inner:
      mutual && service !== GATEWAY
        ? {
            ...edge,
            trustDomain,
            clientCertificates: service === ISSUER ? "optional" : "required",
          }
        : edge,
    ops: config.tlsOps ? opsTls(files) : undefined,
    channel: (peer) => (named && peer !== undefined ? { ...edge, trustDomain, peer } : edge),
  };
}

/** Reads again what changed and says so; without a change it says nothing. */
export function followFiles(
  tls: FrameTls,
  deps: {
    readonly config: ConfigManager<FrameConfig>;
    readonly logger: Logger;
    readonly metrics: Metrics;
    readonly nowMs: () => number;
  },
): () => void {
  const { config, logger, metrics, nowMs } = deps;
  const reloads = metrics.counter({
    name: "tls_reloads_total",
    help: "New certificate files that were taken, or refused because they were not sound.",
    labels: ["outcome"],
  });
  const report = (reload: TlsReload) => {
    if (reload.outcome === "unchanged") return;
    reloads.inc({ outcome: reload.outcome });
    if (reload.outcome === "changed") {
      const until = new Date(reload.loaded.notAfterMs).toISOString();
      logger.info({ until }, "new certificate in force");
    } else {
      const problems = reload.problems.map(({ file, problem }) => `${VARIABLES[file]} ${problem}`);
      logger.error({ problems }, "certificate files refused, the old ones stay");
    }
  };
  const secondsLeft = (atMs: number | undefined) => ((atMs ?? 0) - nowMs()) / 1_000;
  metrics.gauge({
    name: "tls_certificate_expiry_seconds",
    help: "Seconds until the service's own certificate ends; negative once it has.",
    shared: true,
    read: () => secondsLeft(tls.files.loaded?.notAfterMs),
  });
  if (tls.files.files.caFile !== undefined) {
    metrics.gauge({
      name: "tls_ca_expiry_seconds",
      help: "Seconds until the first of the trusted CA certificates ends.",
      shared: true,
      read: () => secondsLeft(tls.files.loaded?.caNotAfterMs),
    });
  }
  tls.files.watch(report);
  const stop = config.onReload(() => report(tls.files.reload()));
  return () => {
    stop();
    tls.files.close();
  };
}

function fileSetOf(service: string, config: FrameConfig): TlsFileSet | undefined {
  const { tlsMode, tlsCertFile, tlsKeyFile, tlsCaFile } = config;
  if (tlsMode === "off") return undefined;
  // The configuration has checked that they are named.
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  return {
    certFile: tlsCertFile,
    keyFile: tlsKeyFile,
    caFile: tlsCaFile,
    name: isNamed(config) ? { trustDomain: config.tlsTrustDomain, service } : undefined,
  };
}

/** Vault's certificates name services, and hosts only where users dial; in mode `mutual` all have to. */
function isNamed({ tlsMode, tlsIssuer }: FrameConfig): boolean {
  return tlsMode === "mutual" || tlsIssuer === "vault";
}

function opsTls(files: TlsFiles): OpsTls {
  return {
    get current() {
      if (files.current === undefined) return undefined;
      const { cert, key } = files.current;
      return contextOptions({ ...(cert && { cert }), ...(key && { key }) });
    },
    onChange: (fn) => files.onChange(fn),
  };
}

function filesError(service: string, problems: readonly TlsFileProblem[]): ConfigError {
  const named = problems.map(({ file, problem }) => ({
    env: VARIABLES[file],
    problem,
    example: "",
  }));
  return new ConfigError(service, named);
}
