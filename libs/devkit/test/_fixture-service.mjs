/* oxlint-disable typescript/no-unsafe-call, typescript/no-unsafe-member-access, typescript/no-unsafe-assignment, typescript/no-unsafe-argument, typescript/no-unsafe-return, typescript/restrict-template-expressions, no-console, unicorn/no-process-exit -- plain JavaScript without types, because Node 20 runs it as it is */
/** Stands in for a service in the tests of the supervisor: an ops port with /ready, and the manners that were agreed upon.
 *
 * FIXTURE_MODE: "" | "crash" (ends at once) | "never-ready" | "deaf" (ignores SIGTERM and the closed channel); it may be
 * given for one service as FIXTURE_MODE_<NAME>. */
import { createServer } from "node:http";

const opsVariable = Object.keys(process.env).find((key) => /^NEXUS_[A-Z_]+_OPS_PORT$/.test(key));
const word = opsVariable.replace(/^NEXUS_(.+)_OPS_PORT$/, "$1");
const mode = process.env[`FIXTURE_MODE_${word}`] ?? process.env.FIXTURE_MODE ?? "";
console.log(JSON.stringify({ level: "info", msg: "fixture starts", mode, word }));

if (mode === "crash") {
  console.error("the fixture cannot go on");
  process.exit(3);
}
const server = createServer((request, response) => {
  if (request.url === "/env") return response.end(JSON.stringify(process.env));
  response.statusCode = mode === "never-ready" ? 503 : 200;
  return response.end(mode === "never-ready" ? "database: away" : "ok");
});
server.listen(Number(process.env[opsVariable]), "127.0.0.1");

const leave = () => {
  if (mode === "deaf") return;
  console.log(JSON.stringify({ level: "info", msg: "fixture stops" }));
  process.exit(0);
};
process.on("SIGTERM", leave);
if (process.env.NEXUS_SUPERVISED === "1") process.on("disconnect", leave);
