/** What a person sees when the stack is ready. Pure. */
import { relative } from "node:path";
import { PORT_BASE_DEFAULT } from "./stack/port-plan.ts";
import type { ServiceInfo, StackInfo } from "./stack/stack-info.ts";

const NAME_WIDTH = 17;
const ADDRESS_WIDTH = 17;

/** Describes a running stack: what is where, how to log in, what to try. */
export function renderBanner(info: StackInfo, elapsedMs: number, workingDir: string): string {
  const near = (path: string) => {
    const short = relative(workingDir, path);
    return short.startsWith("..") ? path : short;
  };
  const line = (name: string, address: string, rest: string) =>
    `  ${name.padEnd(NAME_WIDTH)}${address.padEnd(ADDRESS_WIDTH)}${rest}`;
  const service = ([name, { grpc, ops }]: [string, ServiceInfo]) =>
    line(name, grpc, `${ops}/metrics`);
  const inner = Object.entries(info.services)
    .filter(([name]) => name !== "gateway")
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
  return [
    `NEXUS is ready (${(elapsedMs / 1000).toFixed(1)} s).`,
    "",
    line("gateway", info.gateway, `gRPC; HTTP and JSON on ${info.http}`),
    ...inner.map(service),
    line("postgres", `127.0.0.1:${info.postgres.port}`, "database nexus"),
    ...(info.redis === undefined
      ? []
      : [line("redis", `127.0.0.1:${info.redis.port}`, "between mesh-routers")]),
    "",
    `  data          ${near(info.dataDir)}   (stack.json says what is where)`,
    `  admin login   user admin, password in ${near(info.adminCredentialsFile)}`,
    "",
    "Try, in another terminal:",
    ...tryLines(info, near(info.adminCredentialsFile)),
    "",
    "Agents do the work: README.md says how to write one, `npm run demo` shows a fleet of them.",
    "",
    "Ctrl-C stops everything and keeps the data.",
  ].join("\n");
}

/** The login remembers the gateway, so only it names one that is not the default. */
function tryLines(info: StackInfo, credentialsFile: string): string[] {
  const elsewhere = info.gateway.endsWith(`:${PORT_BASE_DEFAULT}`)
    ? ""
    : ` --gateway ${info.gateway}`;
  return [
    `  npx nexus login --credentials-file ${credentialsFile}${elsewhere}`,
    "  npx nexus status",
    "  npx nexus principals create my-agent",
    `  grpcurl ${info.caFile === undefined ? "-plaintext" : `-cacert ${info.caFile}`} ${info.gateway} list`,
  ];
}
