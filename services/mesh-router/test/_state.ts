/** Callers of state, and buckets for them. */
import { randomUUID } from "node:crypto";
import {
  type StateEntry,
  type StatePolicy,
  StateService,
  type WatchBucketResponse,
} from "@nexus/proto/mesh";
import { LeaseService } from "@nexus/proto/orchestrator";
import { createRpcClient, createRpcServer, type RpcClient } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { freePort, waitFor } from "@nexus/testkit";
import { MeshFixture, type RunningRouter } from "./_router.ts";

export type StateClient = RpcClient<typeof StateService>;

/** A value of the contract. */
export function text(value: string) {
  return { contentType: "text/plain", data: new TextEncoder().encode(value) };
}

/** What a value says. */
export function textOf(entry: StateEntry | undefined): string[] {
  return (entry?.versions ?? []).map(({ value }) => new TextDecoder().decode(value?.data));
}

/** The reason of a call's failure; "none" when it went well. */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "none",
    (error: unknown) => NexusError.from(error).reason,
  );
}

export const id = (): string => randomUUID();

/** A caller of a replica. */
export async function stateClient(
  fixture: MeshFixture,
  router: RunningRouter,
  sub = "alice",
  more: { ns?: string; scopes?: string[]; kind?: "user" | "agent" } = {},
): Promise<StateClient> {
  const token = await fixture.identity.token({ sub, ...more });
  return createRpcClient(StateService, router.channel, { tokens: { token: async () => token } });
}

/** What a test file about state shares: a router, an orchestrator that judges leases, and a first caller. */
export interface StateBed {
  readonly fixture: MeshFixture;
  readonly router: RunningRouter;
  readonly alice: StateClient;
  close(): Promise<void>;
}

/** Starts all of it; `held` as startLeases() has it. */
export async function openStateBed(
  held: () => bigint | undefined = () => undefined,
): Promise<StateBed> {
  const fixture = await MeshFixture.create();
  const leases = await startLeases(fixture, held);
  const router = await startStateRouter(fixture, leases);
  const alice = await stateClient(fixture, router, "alice");
  const close = async () => {
    await fixture.close();
    await leases.close();
  };
  return { fixture, router, alice, close };
}

/** What a key says. */
export async function getTexts(
  client: StateClient,
  bucket: string,
  key: string,
): Promise<string[]> {
  return textOf((await client.getEntry({ bucket, key })).entry);
}

/** Starts a replica with small bounds of state, whose leases the given orchestrator judges. */
function startStateRouter(fixture: MeshFixture, leases: Leases): Promise<RunningRouter> {
  return fixture.start({
    orchestratorAddress: leases.address,
    stateTombstonesKeptMs: 400,
    stateBucketsMax: 60,
    stateKeysMax: 500_000,
  });
}

/** Writes a text. */
export function put(
  client: StateClient,
  bucket: string,
  key: string,
  value: string,
  more: object = {},
) {
  return client.putEntry({ requestId: id(), bucket, key, put: { value: text(value), ...more } });
}

/** Makes a bucket with a name of its own. */
export async function newBucket(
  client: StateClient,
  policy: StatePolicy,
  more: Omit<Parameters<StateClient["createBucket"]>[0], "$typeName"> = {},
): Promise<string> {
  const bucket = `b-${randomUUID()}`;
  await client.createBucket({ requestId: id(), bucket, policy, ...more });
  return bucket;
}

/** A watch that remembers what it was told. */
export class Watching {
  readonly messages: WatchBucketResponse[] = [];
  error: NexusError | undefined;
  ended = false;
  /** While true nothing more is read. */
  paused = false;
  readonly #abort = new AbortController();

  constructor(client: StateClient, request: Parameters<StateClient["watchBucket"]>[0]) {
    void this.#read(client.watchBucket(request, { signal: this.#abort.signal }));
  }

  async #read(stream: AsyncIterable<WatchBucketResponse>): Promise<void> {
    try {
      for await (const message of stream) {
        this.messages.push(message);
        if (this.paused) await waitFor(() => !this.paused, { what: "reading", timeoutMs: 60_000 });
      }
    } catch (error) {
      this.error = NexusError.from(error);
    } finally {
      this.ended = true;
    }
  }

  get changes() {
    return this.messages.flatMap((message) => message.changes);
  }

  get entries() {
    return this.messages.flatMap((message) => message.entries);
  }

  get revision(): bigint {
    return this.messages.at(-1)?.revision ?? 0n;
  }

  get revisions(): bigint[] {
    return this.changes.map(({ entry }) => entry?.revision ?? 0n);
  }

  /** Waits until the watch holds. */
  async started(): Promise<this> {
    await waitFor(() => this.revision > 0n || this.ended, { what: "the watch to hold" });
    if (this.error !== undefined) throw this.error;
    return this;
  }

  async untilChanges(count: number): Promise<void> {
    await waitFor(() => this.changes.length >= count, { what: `${count} changes` });
  }

  stop(): void {
    this.#abort.abort();
  }
}

/** An orchestrator that only judges leases. */
interface Leases {
  readonly address: string;
  close(): Promise<void>;
}

/** Starts one for which `held` says the fence that holds; any other is lost, and undefined plays that it cannot say. */
async function startLeases(fixture: MeshFixture, held: () => bigint | undefined): Promise<Leases> {
  const port = await freePort();
  const server = createRpcServer({
    service: "orchestrator",
    host: "127.0.0.1",
    port,
    logger: createSilentLogger(),
    metrics: createMetrics("orchestrator"),
    verifier: fixture.identity.verifier,
  }).add(LeaseService, {
    check: async ({ claims }) => {
      const live = held();
      if (live === undefined) {
        throw new NexusError({ kind: "internal", reason: "INTERNAL", message: "no" });
      }
      return {
        verdicts: claims.map(({ fence }) => ({
          valid: fence === live,
          reason: fence === live ? "" : "LEASE_LOST",
        })),
      };
    },
  });
  await server.listen();
  return { address: `127.0.0.1:${port}`, close: () => server.close(200) };
}
