/* oxlint-disable typescript/no-unsafe-call, typescript/no-unsafe-member-access, typescript/no-unsafe-assignment, typescript/no-unsafe-argument, typescript/no-unsafe-return, typescript/restrict-template-expressions -- plain JavaScript without types, because Node 20 runs it as it is */
/** Owns a server until it is killed: the tests see what is left of it then. Arguments: JSON options. */
import { startEmbeddedPostgres } from "@nexus/devkit";

const options = JSON.parse(process.argv[2]);
const server = await startEmbeddedPostgres(options);
process.stdout.write(
  `${JSON.stringify({ pid: server.pid, url: server.url, dataDir: server.dataDir })}\n`,
);
setInterval(() => undefined, 1_000);
