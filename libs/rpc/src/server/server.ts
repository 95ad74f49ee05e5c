import type { ServerOptions as Http2ServerOptions } from "node:http2";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Server, type ServerOptions, type UntypedHandleCall } from "@grpc/grpc-js";
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { CallAuditor } from "../call-auditor.ts";
import { standardInterceptors } from "../interceptors/index.ts";
import {
  CONNECTION_AGE_SWEEP_MS,
  DEFAULT_DEADLINE_MS,
  DRAIN_LINGER_MS,
  FLOW_WINDOW_BYTES,
  keepaliveOptions,
  MAX_CONCURRENT_STREAMS,
  MAX_CONNECTION_AGE_GRACE_MS,
  MAX_CONNECTION_AGE_MS,
  MAX_HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  type RpcServerLimits,
  SERVER_KEEPALIVE_MS,
  SERVER_KEEPALIVE_TIMEOUT_MS,
} from "../limits.ts";
import type { Principal, TokenVerifier } from "../principal.ts";
import type { ServiceImplementation } from "../service-types.ts";
import type { TlsOptions } from "../tls/material.ts";
import { serverCredentials } from "../tls/server-credentials.ts";
import { quietTransport } from "../transport-log.ts";
import { identity } from "../wire/codec.ts";
import { createDispatcher, type Dispatcher } from "./dispatcher.ts";
import { createHealth, type Health } from "./health.ts";
import { composeInterceptors } from "./interceptor.ts";
import { invokeHandler } from "./invoke.ts";
import { type MethodPlan, planService } from "./method-plan.ts";
import type { RawRelay } from "./raw-relay.ts";
import { createReflections } from "./reflection.ts";
import { explainTransportStatus } from "./transport-status.ts";

/** What a server is made of. */
export interface RpcServerOptions {
  /** NEXUS service name, e.g. `vault`: part of metric names and of ErrorInfo.domain. */
  readonly service: string;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly verifier: TokenVerifier;
  /** True: listen() refuses to serve an audited method without an auditor. Services ask for it, so that none forgets. */
  readonly needsAuditor?: boolean;
  readonly limits?: RpcServerLimits;
  readonly tls?: TlsOptions;
  /** Set: it listens at a Unix socket in place of host and port, without TLS. */
  readonly socket?: LocalSocket;
}

/** A Unix socket that the file system keeps everybody from who may not call. */
export interface LocalSocket {
  readonly path: string;
  /** Who calls without a token; one that is sent is checked as everywhere. */
  readonly caller: Principal;
}

/** How one service is served. */
export interface AddOptions<S extends DescService> {
  /** Methods whose requests are not held against the contract's rules, only decoded. For hot streams between NEXUS
   * services: rules that are no plain comparisons cost as much as decoding, 2 to 3 us per item of a frame. Never for callers from
   * outside. */
  readonly unchecked?: readonly (keyof S["method"] & string)[];
}

/** A gRPC server with the standard onion, health and reflection. Add services, then listen. */
export interface RpcServer {
  /** Serves a contract. Errors: a plain Error when a method lacks required_scope; by listen() when one is audited and
   * the auditor that is needed was not set. */
  add<S extends DescService>(
    desc: S,
    implementation: ServiceImplementation<S>,
    options?: AddOptions<S>,
  ): this;
  /** Serves a contract as bytes: every layer but validation runs, and `relay` answers all methods. */
  addRaw(desc: DescService, relay: RawRelay): this;
  /** Passes a contract that another service owns on to it, as bytes. As addRaw(), but streams may outlive the token
   * they began with: the owner gets the same token and guards it, and it alone sees the frame that renews it. */
  addRelay(desc: DescService, relay: RawRelay): this;
  /** Sets what keeps the entries of audited calls, before listen(). */
  useAuditor(auditor: CallAuditor): this;
  /** Binds and begins to serve; health turns SERVING. */
  listen(): Promise<{ port: number; address: string }>;
  /** Drains and stops within about `graceMs`, also with streams open. Idempotent. */
  close(graceMs: number): Promise<void>;
  /** Switches health, e.g. off while the database is away. */
  setServing(serving: boolean, why?: string): void;
}

/** Creates a server. Nothing is bound until listen(). */
export function createRpcServer(options: RpcServerOptions): RpcServer {
  quietTransport();
  return new GrpcServer(options);
}

interface Running {
  readonly server: Server;
  readonly dispatcher: Dispatcher;
  readonly health: Health;
  readonly ageSweep: NodeJS.Timeout;
}

class GrpcServer implements RpcServer {
  readonly #options: RpcServerOptions;
  readonly #services: DescService[] = [];
  readonly #plans: MethodPlan[] = [];
  #auditor: CallAuditor | undefined;
  #running: Running | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
  }

  add<S extends DescService>(
    desc: S,
    implementation: ServiceImplementation<S>,
    { unchecked = [] }: AddOptions<S> = {},
  ): this {
    const handlers = implementation as unknown as Record<string, MethodPlan["handler"]>;
    const plans = planService(
      desc,
      (method) => {
        const handler = findHandler(handlers, method);
        return (request, ctx) => handler.call(implementation, request, ctx);
      },
      { unchecked },
    );
    return this.#addPlans(desc, plans);
  }

  addRaw(desc: DescService, relay: RawRelay): this {
    const plans = planService(desc, () => relay as MethodPlan["handler"], { raw: true });
    return this.#addPlans(desc, plans);
  }

  addRelay(desc: DescService, relay: RawRelay): this {
    const handlerOf = () => relay as MethodPlan["handler"];
    return this.#addPlans(desc, planService(desc, handlerOf, { raw: true, relayed: true }));
  }

  #addPlans(desc: DescService, plans: readonly MethodPlan[]): this {
    if (this.#running !== undefined) throw new Error("Services are added before listen().");
    this.#plans.push(...plans);
    this.#services.push(desc);
    return this;
  }

  useAuditor(auditor: CallAuditor): this {
    this.#auditor = auditor;
    return this;
  }

  async listen(): Promise<{ port: number; address: string }> {
    const { service, logger, metrics, host, limits, socket } = this.#options;
    const tls = socket === undefined ? this.#options.tls : undefined;
    const health = createHealth(this.#services.map((desc) => desc.typeName));
    const builtIn = [health, ...createReflections([...this.#services, health.desc])];
    const plans = [...this.#plans, ...builtIn.flatMap(planBuiltIn)];
    if (this.#options.needsAuditor === true && this.#auditor === undefined) {
      assertNoneAudited(plans);
    }
    const layers = standardInterceptors({
      ...this.#options,
      auditor: this.#auditor,
      defaultDeadlineMs: limits?.defaultDeadlineMs ?? DEFAULT_DEADLINE_MS,
      trustDomain: checksPeers(tls) ? tls?.trustDomain : undefined,
      localCaller: socket?.caller,
    });
    const dispatcher = createDispatcher(
      service,
      logger,
      composeInterceptors(layers, invokeHandler),
    );
    const server = new Server({
      ...transportOptions(limits ?? {}),
      interceptors: [explainTransportStatus(service, logger, metrics)],
    });
    configureHttp2(server, limits?.maxHeaderBytes ?? MAX_HEADER_BYTES);
    for (const plan of plans) register(server, plan, dispatcher);
    const at = socket === undefined ? `${host}:${this.#options.port}` : `unix:${socket.path}`;
    const port = await bind(server, at, tls);
    const lingerMs = limits?.drainLingerMs ?? DRAIN_LINGER_MS;
    const ageSweep = setInterval(() => dispatcher.endAged(lingerMs), CONNECTION_AGE_SWEEP_MS);
    this.#running = { server, dispatcher, health, ageSweep: ageSweep.unref() };
    health.setServing(true);
    return { port, address: socket === undefined ? `${host}:${port}` : at };
  }

  setServing(serving: boolean, why?: string): void {
    this.#running?.health.setServing(serving, why);
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#drainAndStop(graceMs);
    return this.#closing;
  }

  /** NOT_SERVING; new calls refused; open streams told to end; then whatever is left at the end of the grace is
   * cut. tryShutdown alone waits for ever on one open stream. */
  async #drainAndStop(graceMs: number): Promise<void> {
    if (this.#running === undefined) return;
    const { server, dispatcher, health, ageSweep } = this.#running;
    clearInterval(ageSweep);
    health.setServing(false);
    const lingerMs = this.#options.limits?.drainLingerMs ?? DRAIN_LINGER_MS;
    dispatcher.drain(Math.min(lingerMs, graceMs / 2));
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      server.tryShutdown(() => resolve());
      timer = setTimeout(() => {
        dispatcher.endAll();
        // One turn of the event loop lets the statuses just sent reach the sockets.
        setImmediate(() => {
          server.forceShutdown();
          resolve();
        });
      }, graceMs);
    });
    clearTimeout(timer);
  }
}

/** Caps request headers, so that Node refuses a larger block before anything is built from it, and widens the windows of streams.
 * grpc-js has options for neither, so the settings go where it keeps its HTTP/2 options. */
function configureHttp2(server: Server, maxHeaderBytes: number): void {
  const options = (server as unknown as { commonServerOptions?: Http2ServerOptions })
    .commonServerOptions;
  if (options === undefined) throw new Error("grpc-js keeps its HTTP/2 options elsewhere now.");
  options.settings = {
    ...options.settings,
    maxHeaderListSize: maxHeaderBytes,
    initialWindowSize: FLOW_WINDOW_BYTES,
  };
}

/** Who asks for certificates without saying whose count would let anybody in whom the authority signs for. */
function checksPeers(tls: TlsOptions | undefined): boolean {
  const asks = (tls?.clientCertificates ?? "none") !== "none";
  if (asks && tls?.trustDomain === undefined) {
    throw new Error("Client certificates are asked for together with a trust domain.");
  }
  return asks;
}

/** A forgotten auditor has to stop the start, not to leave calls without entries. */
function assertNoneAudited(plans: readonly MethodPlan[]): void {
  const found = plans.find(({ audited, raw }) => audited && !raw);
  if (found === undefined) return;
  throw new Error(`${found.path} is audited: the server needs an auditor.`);
}

/** Health and reflection go through the same onion as everything else. */
function planBuiltIn({ desc, handlers }: Pick<Health, "desc" | "handlers">): MethodPlan[] {
  return planService(desc, (method) => findHandler(handlers, method));
}

/** Types make a missing handler impossible in TypeScript; this is for whoever got around them. */
function findHandler(
  handlers: Readonly<Record<string, MethodPlan["handler"]>>,
  method: DescMethod,
): MethodPlan["handler"] {
  const handler = handlers[method.localName];
  if (handler !== undefined) return handler;
  throw new Error(`${method.parent.typeName}.${method.name} has no handler.`);
}

function register(server: Server, plan: MethodPlan, dispatcher: Dispatcher): void {
  const definition = {
    path: plan.path,
    requestStream: plan.requestStream,
    responseStream: plan.responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
  const call = dispatcher.accept(plan) as UntypedHandleCall;
  server.addService({ call: definition }, { call });
}

function bind(server: Server, address: string, tls: TlsOptions | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serverCredentials(tls), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

function transportOptions(limits: RpcServerLimits): ServerOptions {
  const maxMessageBytes = limits.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  return {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.max_concurrent_streams": limits.maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS,
    "grpc.max_connection_age_ms": limits.maxConnectionAgeMs ?? MAX_CONNECTION_AGE_MS,
    "grpc.max_connection_age_grace_ms":
      limits.maxConnectionAgeGraceMs ?? MAX_CONNECTION_AGE_GRACE_MS,
    ...keepaliveOptions(limits.silentMaxMs, {
      afterMs: SERVER_KEEPALIVE_MS,
      timeoutMs: SERVER_KEEPALIVE_TIMEOUT_MS,
    }),
    "grpc.enable_channelz": 0,
  };
}
