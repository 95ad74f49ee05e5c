/** The NATS server of a peer. */
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { findNatsServer, type JetStreamSync, startLocalNats } from "@nexus/devkit";
import { natsOptions } from "../peers/nats-options.ts";
import { namedUrl, openLocal, type PeerServer } from "./peer-server.ts";

const URL_VARIABLE = "NEXUS_BENCH_NATS_URL";
const NANOSECONDS_PER_SECOND = 1e9;

/** Says why there is no NATS server with this durability; undefined when there is one. */
export function whyNoNats(sync: JetStreamSync): string | undefined {
  if (namedUrl(URL_VARIABLE) !== undefined) {
    return sync === "default" ? undefined : `${URL_VARIABLE} decides how durable its server is`;
  }
  if (findNatsServer() !== undefined) return undefined;
  return `no NATS server (install nats-server, or set ${URL_VARIABLE})`;
}

/** Opens the server that whyNoNats() has nothing against.
 *
 * Errors: those of startLocalNats; an Error when the named one does not answer. */
export async function openNats(dataDir: string, sync: JetStreamSync): Promise<PeerServer> {
  const url = namedUrl(URL_VARIABLE);
  if (url !== undefined) {
    return { url, about: await describeNats(url, undefined), stop: () => Promise.resolve() };
  }
  const folder = join(dataDir, `nats-${sync}`);
  return openLocal(
    () => startLocalNats({ dataDir: folder, sync }),
    (local) => describeNats(local.url, local.systemUrl),
  );
}

async function describeNats(url: string, systemUrl: string | undefined): Promise<string> {
  const connection = await connect({ ...natsOptions(url), reconnect: false });
  const version = connection.info?.version ?? "of unknown version";
  await connection.close();
  return `NATS ${version}, ${await describeSync(systemUrl)}`;
}

interface StreamReport {
  readonly data?: {
    readonly config?: { readonly sync_interval?: number; readonly sync_always?: boolean };
  };
}

/** Only the system account may ask; nobody has it of a server that was named. */
async function describeSync(systemUrl: string | undefined): Promise<string> {
  if (systemUrl === undefined) return "durability unknown";
  const connection = await connect({ ...natsOptions(systemUrl), reconnect: false });
  try {
    const answer = await connection.request("$SYS.REQ.SERVER.PING.JSZ", "{}");
    const { sync_always, sync_interval = 0 } = answer.json<StreamReport>().data?.config ?? {};
    if (sync_always === true) return "sync_always true";
    return `sync_always false, sync_interval ${sync_interval / NANOSECONDS_PER_SECOND} s`;
  } finally {
    await connection.close();
  }
}
