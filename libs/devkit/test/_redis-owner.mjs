/* oxlint-disable typescript/no-unsafe-call, typescript/no-unsafe-member-access, typescript/no-unsafe-assignment, typescript/no-unsafe-argument, typescript/restrict-template-expressions -- plain JavaScript without types, because Node 20 runs it as it is */
/** Owns a Redis until it is killed: a test sees what is left of it then. Argument: the data directory. */
import { startLocalRedis } from "@nexus/devkit";

const redis = await startLocalRedis({ dataDir: process.argv[2] });
process.stdout.write(`${redis.pid}\n`);
setInterval(() => undefined, 1_000);
