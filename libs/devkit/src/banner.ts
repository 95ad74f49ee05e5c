/** What a person sees when the stack is ready. Pure. */
import { relative } from "node:path";
import { SERVICE_NAMES, type ServiceName } from "./stack/services.ts";
import type { StackInfo } from "./stack/stack-info.ts";

const NAME_WIDTH = 14;
const ADDRESS_WIDTH = 17;

/** Describes a running stack: what is where, how to log in, what to try. */
export function renderBanner(info: StackInfo, elapsedMs: number, workingDir: string): string {
  const near = (path: string) => {
    const short = relative(workingDir, path);
    return short.startsWith("..") ? path : short;
  };
  const line = (name: string, address: string, rest: string) =>
    `  ${name.padEnd(NAME_WIDTH)}${address.padEnd(ADDRESS_WIDTH)}${rest}`;
  const service = (name: ServiceName) =>
    line(name, info.services[name].grpc, `${info.services[name].ops}/metrics`);
  const inner = SERVICE_NAMES.filter((name) => name !== "gateway").toSorted();
  return [
    `NEXUS is ready (${(elapsedMs / 1000).toFixed(1)} s).`,
    "",
    line("gateway", info.gateway, `gRPC; HTTP and JSON on ${info.http}`),
    ...inner.map(service),
    line("postgres", `127.0.0.1:${info.postgres.port}`, "database nexus"),
    "",
    `  data          ${near(info.dataDir)}   (stack.json says what is where)`,
    `  admin login   user admin, password in ${near(info.adminCredentialsFile)}`,
    "",
    "Try, in another terminal:",
    ...tryLines(info, near(info.dataDir)),
    "",
    "Ctrl-C stops everything and keeps the data.",
  ].join("\n");
}

function tryLines(info: StackInfo, dataDir: string): string[] {
  const nexus = dataDir === ".nexus" ? "npx nexus" : `npx nexus --data-dir ${dataDir}`;
  return [
    `  ${nexus} login`,
    `  ${nexus} status`,
    `  ${nexus} jobs submit --objective "report on the documents in docs"`,
    `  grpcurl -plaintext ${info.gateway} list`,
  ];
}
