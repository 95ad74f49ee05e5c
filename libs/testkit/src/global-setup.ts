/** vitest's global setup: one Postgres server for the run, gone afterwards. */
import { type OwnedServer, openTestServer, SERVER_ENV } from "./database-server.ts";
import { dropTestDatabases } from "./test-database.ts";

let server: OwnedServer | undefined;

/** Opens the server and tells the workers, which are started later and inherit the environment. */
export async function setup(): Promise<void> {
  server = await openTestServer(process.env);
  const { adminUrl, runId } = server;
  process.env[SERVER_ENV] = JSON.stringify({ adminUrl, runId });
}

/** Removes what the run made, then stops the server. */
export async function teardown(): Promise<void> {
  if (server === undefined) return;
  await dropTestDatabases(server);
  await server.stop();
  server = undefined;
}
