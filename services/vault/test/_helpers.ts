/** What every test of this folder starts from: a database of its own and one or more replicas of vault on it. */
import { randomBytes } from "node:crypto";
import { int } from "@nexus/core";
import { Health, HealthCheckResponse_ServingStatus } from "@nexus/proto/grpc-health";
import {
  AccessService,
  AnomalyService,
  AuditIntakeService,
  AuditLogService,
  AuthService,
  KeyService,
  PrincipalKind,
  PrincipalService,
  SealService,
  SecretService,
  TransitService,
} from "@nexus/proto/vault";
import type { RpcChannel, RpcClient } from "@nexus/rpc";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import type { RunningService } from "@nexus/runtime";
import { type Logger, NexusError } from "@nexus/shared";
import {
  createTestDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
  testConfig,
} from "@nexus/testkit";
import { type VaultConfig, vaultSchema } from "../src/config.ts";
import { startServer } from "../src/server.ts";

export const ADMIN_PASSWORD = "correct horse battery staple";
export const REGISTRY_SECRET = "r".repeat(43);
export const KEY = randomBytes(32).toString("base64");

/** One replica with clients of both its services. */
export interface Replica {
  readonly service: RunningService;
  readonly channel: RpcChannel;
  readonly auth: RpcClient<typeof AuthService>;
  readonly principals: RpcClient<typeof PrincipalService>;
  readonly access: RpcClient<typeof AccessService>;
  readonly seal: RpcClient<typeof SealService>;
  readonly keys: RpcClient<typeof KeyService>;
  readonly transit: RpcClient<typeof TransitService>;
  readonly secrets: RpcClient<typeof SecretService>;
  readonly audit: RpcClient<typeof AuditLogService>;
  readonly anomalies: RpcClient<typeof AnomalyService>;
  readonly intake: RpcClient<typeof AuditIntakeService>;
  stop(): Promise<void>;
}

/** A database and the replicas on it. */
export interface Fleet {
  readonly database: TestDatabase;
  start(values?: Partial<VaultConfig>, logger?: Logger): Promise<Replica>;
  close(): Promise<void>;
}

/** Iterations of a hash: a twentieth of the fewest that vault takes, which were more than a third of the work of these tests. A test to
 * which the time of a hash matters asks for more. */
export const PASSWORD_ITERATIONS = 5_000;
const { passwordIterations } = vaultSchema.fields;
const testSchema = {
  ...vaultSchema,
  fields: {
    ...vaultSchema.fields,
    passwordIterations: int({
      env: passwordIterations.env,
      default: PASSWORD_ITERATIONS,
      about: passwordIterations.about,
    }),
  },
};

/** What every replica gets unless a test says otherwise. */
const TEST_VALUES: Partial<VaultConfig> = {
  rootKey: KEY,
  bootstrapAdminPassword: ADMIN_PASSWORD,
  bootstrapServiceSecrets: `registry=${REGISTRY_SECRET}`,
};

export async function createFleet(options?: TestDatabaseOptions): Promise<Fleet> {
  const database = await createTestDatabase("vault", options);
  const replicas: Replica[] = [];
  return {
    database,
    async start(values = {}, logger) {
      const given = { databaseUrl: database.url, ...TEST_VALUES, ...values };
      const config = testConfig(testSchema, given);
      const replica = await connect(
        await startServer(config, logger === undefined ? {} : { logger }),
      );
      replicas.push(replica);
      return replica;
    },
    async close() {
      for (const replica of replicas) await replica.stop();
      await database.close();
    },
  };
}

async function connect(service: RunningService): Promise<Replica> {
  const channel = createRpcChannel({ address: service.address });
  let stopped: Promise<void> | undefined;
  return {
    service,
    channel,
    auth: createRpcClient(AuthService, channel),
    principals: createRpcClient(PrincipalService, channel),
    access: createRpcClient(AccessService, channel),
    seal: createRpcClient(SealService, channel),
    keys: createRpcClient(KeyService, channel),
    transit: createRpcClient(TransitService, channel),
    secrets: createRpcClient(SecretService, channel),
    audit: createRpcClient(AuditLogService, channel),
    anomalies: createRpcClient(AnomalyService, channel),
    intake: createRpcClient(AuditIntakeService, channel),
    stop() {
      stopped ??= (async () => {
        channel.close();
        await service[Symbol.asyncDispose]();
      })();
      return stopped;
    },
  };
}

/** The tokens of one successful proof, as tests use them. */
export interface Session {
  readonly token: string;
  readonly refreshToken: string;
}

export async function login(
  { auth }: Replica,
  principalId = "admin",
  password = ADMIN_PASSWORD,
  namespace = "",
): Promise<Session> {
  const { tokens } = await auth.login({ namespace, principalId, password });
  return { token: tokens?.accessToken ?? "", refreshToken: tokens?.refreshToken ?? "" };
}

let counter = 0;

/** A request id that no other call of the run uses. */
export function requestId(): string {
  return `request-${++counter}`;
}

/** An agent with its secret and first tokens. */
export interface Agent extends Session {
  readonly principalId: string;
  readonly clientSecret: string;
}

export async function createAgent(
  replica: Replica,
  admin: Session,
  init: {
    readonly principalId?: string;
    readonly scopes?: string[];
    readonly roles?: string[];
  } = {},
): Promise<Agent> {
  const principalId = init.principalId ?? `agent-${++counter}`;
  const { clientSecret } = await replica.principals.createPrincipal(
    {
      requestId: requestId(),
      principalId,
      kind: PrincipalKind.AGENT,
      scopes: init.scopes ?? [],
      roles: init.roles ?? [],
    },
    admin,
  );
  return { principalId, clientSecret, ...(await grant(replica, principalId, clientSecret)) };
}

export async function createUser(
  replica: Replica,
  admin: Session,
  init: {
    readonly principalId?: string;
    readonly scopes?: string[];
    readonly roles?: string[];
    readonly password?: string;
    readonly namespace?: string;
  } = {},
): Promise<Session & { readonly principalId: string }> {
  const principalId = init.principalId ?? `user-${++counter}`;
  const { password = "a password of a user", namespace = "" } = init;
  await replica.principals.createPrincipal(
    {
      requestId: requestId(),
      principalId,
      kind: PrincipalKind.USER,
      scopes: init.scopes ?? [],
      roles: init.roles ?? [],
      password,
      namespace,
    },
    admin,
  );
  return { principalId, ...(await login(replica, principalId, password, namespace)) };
}

export async function grant(
  { auth }: Replica,
  principalId: string,
  clientSecret: string,
  namespace = "",
): Promise<Session> {
  const { tokens } = await auth.grantClientToken({ namespace, principalId, clientSecret });
  return { token: tokens?.accessToken ?? "", refreshToken: tokens?.refreshToken ?? "" };
}

/** `kind/REASON` of the error, or `ok`. */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "ok";
  } catch (error) {
    if (error instanceof NexusError) return `${error.kind}/${error.reason}`;
    throw error;
  }
}

export async function failure(work: Promise<unknown>): Promise<NexusError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof NexusError) return error;
    throw error;
  }
  throw new Error("the call succeeded");
}

/** What the health service of a replica says. */
export async function healthOf({ service }: Replica): Promise<string> {
  const channel = createRpcChannel({ address: service.address });
  try {
    const { status } = await createRpcClient(Health, channel).check({});
    return HealthCheckResponse_ServingStatus[status] ?? "";
  } finally {
    channel.close();
  }
}

/** What `/ready` of a replica says. */
export async function readinessOf({ service }: Replica): Promise<unknown> {
  return (await fetch(`http://${service.opsAddress}/ready`)).json();
}
