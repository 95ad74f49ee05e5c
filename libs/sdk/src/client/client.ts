import { StatusService } from "@nexus/proto/gateway";
import { AnalyticsService, WitnessService } from "@nexus/proto/insight";
import { DeadMessageService, MessagingService, StateService } from "@nexus/proto/mesh";
import { JobService, PayloadService } from "@nexus/proto/orchestrator";
import { RegistryService } from "@nexus/proto/registry";
import {
  AccessService,
  AnomalyService,
  AuditLogService,
  AuthService,
  CaService,
  KeyService,
  PrincipalService,
  SecretService,
  type TokenSet,
  TransitService,
} from "@nexus/proto/vault";
import { createRpcClient, type RpcClient } from "@nexus/rpc/client";
import { type CredentialSource, type Credentials, createCredentialSource } from "../credentials.ts";
import { type GatewayTls, openGatewayChannel } from "../gateway-channel.ts";
import { createState } from "../state/bucket.ts";
import type { State } from "../state/state.ts";

/** What createClient needs. */
export interface ClientOptions {
  /** The gateway's gRPC address, `host:port`. */
  readonly gateway: string;
  /** For a gateway that speaks TLS; left out: plaintext. */
  readonly tls?: GatewayTls | undefined;
  /** Left out for calls that need no token, such as a login. */
  readonly credentials?: Credentials;
  /** Deadline of unary calls in milliseconds; default 10 000. */
  readonly timeoutMs?: number;
  /** Waits and tries again when calls were refused for their number (RATE_LIMITED), while the call's time allows; default false. */
  readonly waitsForRate?: boolean;
  /** Called with every new token set, for callers that keep them. */
  readonly onTokens?: (tokens: TokenSet) => void;
}

/** Typed clients of everything that the gateway serves. Errors arrive as NexusError. */
export interface NexusClient extends AsyncDisposable {
  readonly audit: RpcClient<typeof AuditLogService>;
  readonly anomalies: RpcClient<typeof AnomalyService>;
  readonly witness: RpcClient<typeof WitnessService>;
  readonly auth: RpcClient<typeof AuthService>;
  readonly ca: RpcClient<typeof CaService>;
  readonly principals: RpcClient<typeof PrincipalService>;
  readonly access: RpcClient<typeof AccessService>;
  readonly keys: RpcClient<typeof KeyService>;
  readonly transit: RpcClient<typeof TransitService>;
  readonly secrets: RpcClient<typeof SecretService>;
  readonly registry: RpcClient<typeof RegistryService>;
  readonly jobs: RpcClient<typeof JobService>;
  readonly payloads: RpcClient<typeof PayloadService>;
  readonly messaging: RpcClient<typeof MessagingService>;
  readonly deadMessages: RpcClient<typeof DeadMessageService>;
  /** The contract itself; `bucket` is the way for programs. */
  readonly state: RpcClient<typeof StateService>;
  /** Names a bucket of shared state, with the type of its values. */
  readonly bucket: State["bucket"];
  readonly analytics: RpcClient<typeof AnalyticsService>;
  readonly status: RpcClient<typeof StatusService>;
  /** The tokens behind the calls; undefined for a client without credentials. */
  readonly credentials: CredentialSource | undefined;
  /** Lets nothing new begin, and cancels streams: watches, uploads, exports. A call with one answer that is under way goes on to its end. */
  close(): void;
}

/** Connects to a NEXUS gateway. Nothing is sent before the first call.
 *
 * @example
 * const nexus = createClient({ gateway: "127.0.0.1:7400", credentials: { kind: "password", principalId, password } });
 * const { job } = await nexus.jobs.submitJob({ requestId: randomUUID(), objective: "..." });
 */
export function createClient(options: ClientOptions): NexusClient {
  const channel = openGatewayChannel(options.gateway, options.tls);
  const credentials =
    options.credentials === undefined
      ? undefined
      : createCredentialSource({
          channel,
          credentials: options.credentials,
          onTokens: options.onTokens,
        });
  const common = {
    ...(credentials === undefined ? {} : { tokens: credentials }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    ...(options.waitsForRate === undefined ? {} : { waitsForRate: options.waitsForRate }),
  };
  const state = createRpcClient(StateService, channel, common);
  return {
    audit: createRpcClient(AuditLogService, channel, common),
    anomalies: createRpcClient(AnomalyService, channel, common),
    witness: createRpcClient(WitnessService, channel, common),
    auth: createRpcClient(AuthService, channel, common),
    ca: createRpcClient(CaService, channel, common),
    principals: createRpcClient(PrincipalService, channel, common),
    access: createRpcClient(AccessService, channel, common),
    keys: createRpcClient(KeyService, channel, common),
    transit: createRpcClient(TransitService, channel, common),
    secrets: createRpcClient(SecretService, channel, common),
    registry: createRpcClient(RegistryService, channel, common),
    jobs: createRpcClient(JobService, channel, common),
    payloads: createRpcClient(PayloadService, channel, common),
    messaging: createRpcClient(MessagingService, channel, common),
    deadMessages: createRpcClient(DeadMessageService, channel, common),
    state,
    bucket: createState(state).bucket,
    analytics: createRpcClient(AnalyticsService, channel, common),
    status: createRpcClient(StatusService, channel, common),
    credentials,
    close: () => channel.close(),
    [Symbol.asyncDispose]: async () => channel.close(),
  };
}
