/** The command line of `npm start`. Pure. */
import { parseArgs } from "node:util";
import { LOG_LEVELS } from "@nexus/shared";
import { PORT_BASE_DEFAULT, portBaseProblem } from "./stack/port-plan.ts";
import { REPLICAS_MAX, replicasProblem } from "./stack/services.ts";
import type { StackLogMode } from "./stack/stack-log.ts";

const LOG_MODES: readonly StackLogMode[] = ["prefix", "file", "quiet"];

/** Shown by --help and beside a usage error. */
export const USAGE = `Starts NEXUS on this machine: Postgres and six services, on loopback.

Usage: npm start -- [flags]
       node libs/devkit/dist/main.js start [flags]

  --port-base N    gateway's port; the others follow (HTTP N+80, services N+1..N+5,
                   further orchestrators N+12 up, Postgres N+32, Redis N+33, further mesh-routers
                   N+42 up, ops ports +2000), or "free"   (default ${PORT_BASE_DEFAULT})
  --orchestrators N  processes of the orchestrator that share its work, up to ${REPLICAS_MAX}   (default 1)
  --mesh-routers N   processes of the mesh-router that share the sessions, up to ${REPLICAS_MAX}   (default 1);
                   more than one need a redis-server or valkey-server on the PATH
  --tls            TLS on every port, and mutual TLS between services, with certificates from vault; also NEXUS_TLS=1
  --data-dir D     data, secrets and logs, kept between starts   (default .nexus)
  --log-level L    ${LOG_LEVELS.join(", ")}
  --logs M         prefix: to the terminal; file: to <data-dir>/logs; quiet   (default prefix)
  --help           this text

Ctrl-C stops everything and keeps the data; twice stops at once.`;

/** What `start` is asked to do. */
export interface StartArguments {
  readonly dataDir: string;
  readonly portBase: number | "free";
  readonly orchestrators: number;
  readonly meshRouters: number;
  readonly logLevel: string | undefined;
  readonly logs: StackLogMode;
  readonly tls: boolean;
}

/** What the command line asks for: a start, the help text, or what is wrong with it. */
export type ParsedArguments =
  | { readonly kind: "start"; readonly start: StartArguments }
  | { readonly kind: "help" }
  | { readonly kind: "usage"; readonly problem: string };

/** Reads the arguments after the program's name. */
export function parseStartArguments(args: readonly string[]): ParsedArguments {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return { kind: "usage", problem: error instanceof Error ? error.message : String(error) };
  }
  const { values, positionals } = parsed;
  if (values.help === true) return { kind: "help" };
  const [command, ...more] = positionals;
  if (command !== "start" || more.length > 0) {
    return { kind: "usage", problem: `unknown command: ${positionals.join(" ") || "(none)"}` };
  }
  const portBase = values["port-base"] === "free" ? "free" : Number(values["port-base"]);
  const problem = problemOf(values, portBase);
  if (problem !== undefined) return { kind: "usage", problem };
  return {
    kind: "start",
    start: {
      dataDir: values["data-dir"],
      portBase,
      orchestrators: Number(values.orchestrators),
      meshRouters: Number(values["mesh-routers"]),
      logLevel: values["log-level"],
      logs: values.logs as StackLogMode,
      tls: values.tls === true,
    },
  };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      "port-base": { type: "string", default: String(PORT_BASE_DEFAULT) },
      orchestrators: { type: "string", default: "1" },
      "mesh-routers": { type: "string", default: "1" },
      "data-dir": { type: "string", default: ".nexus" },
      "log-level": { type: "string" },
      logs: { type: "string", default: "prefix" },
      tls: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
}

function problemOf(
  values: ReturnType<typeof parse>["values"],
  portBase: number | "free",
): string | undefined {
  for (const flag of ["orchestrators", "mesh-routers"] as const) {
    const count = replicasProblem(Number(values[flag]));
    if (count !== undefined) return `--${flag} ${count}, got ${values[flag]}`;
  }
  const replicas = {
    orchestrator: Number(values.orchestrators),
    "mesh-router": Number(values["mesh-routers"]),
  };
  const base = portBase === "free" ? undefined : portBaseProblem(portBase, replicas);
  if (base !== undefined) return `--port-base ${base}, got ${values["port-base"]}`;
  if (values["data-dir"] === "") return "--data-dir must not be empty";
  const level = values["log-level"];
  if (level !== undefined && !LOG_LEVELS.some((known) => known === level)) {
    return `--log-level must be one of ${LOG_LEVELS.join(", ")}, got ${level}`;
  }
  if (!LOG_MODES.some((known) => known === values.logs)) {
    return `--logs must be one of ${LOG_MODES.join(", ")}, got ${values.logs}`;
  }
  return undefined;
}
