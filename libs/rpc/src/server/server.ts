import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Server, type ServerOptions, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import { standardInterceptors } from "../interceptors/index.ts";
import {
  DEFAULT_DEADLINE_MS,
  DRAIN_LINGER_MS,
  MAX_CONCURRENT_STREAMS,
  MAX_CONNECTION_AGE_GRACE_MS,
  MAX_CONNECTION_AGE_MS,
  MAX_MESSAGE_BYTES,
  type RpcServerLimits,
  SERVER_KEEPALIVE_MS,
  SERVER_KEEPALIVE_TIMEOUT_MS,
} from "../limits.ts";
import type { TokenVerifier } from "../principal.ts";
import type { ServiceImplementation } from "../service-types.ts";
import { serverCredentials, type TlsOptions } from "../tls.ts";
import { identity } from "../wire/codec.ts";
import { createDispatcher, type Dispatcher } from "./dispatcher.ts";
import { createHealth, type Health } from "./health.ts";
import { composeInterceptors } from "./interceptor.ts";
import { invokeHandler } from "./invoke.ts";
import { type MethodPlan, planService } from "./method-plan.ts";
import type { RawRelay } from "./raw-relay.ts";
import { addReflection } from "./reflection.ts";

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
  readonly limits?: RpcServerLimits;
  readonly tls?: TlsOptions;
}

/** A gRPC server with the standard onion, health and reflection. Add services, then listen. */
export interface RpcServer {
  /** Serves a contract. Errors: a plain Error when a method lacks required_scope. */
  add<S extends DescService>(desc: S, implementation: ServiceImplementation<S>): this;
  /** Serves a contract as bytes: every layer but validation runs, and `relay` answers all methods. */
  addRaw(desc: DescService, relay: RawRelay): this;
  /** Binds and begins to serve; health turns SERVING. */
  listen(): Promise<{ port: number; address: string }>;
  /** Drains and stops within about `graceMs`, also with streams open. Idempotent. */
  close(graceMs: number): Promise<void>;
  /** Switches health, e.g. off while the database is away. */
  setServing(serving: boolean): void;
}

/** Creates a server. Nothing is bound until listen(). */
export function createRpcServer(options: RpcServerOptions): RpcServer {
  return new GrpcServer(options);
}

class GrpcServer implements RpcServer {
  readonly #options: RpcServerOptions;
  readonly #server: Server;
  readonly #services: DescService[] = [];
  readonly #plans: MethodPlan[] = [];
  #dispatcher: Dispatcher | undefined;
  #health: Health | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#server = new Server(serverOptions(options.limits ?? {}));
  }

  add<S extends DescService>(desc: S, implementation: ServiceImplementation<S>): this {
    const handlers = implementation as unknown as Record<string, MethodPlan["handler"]>;
    return this.#addPlans(desc, false, (method) => {
      const handler = handlers[method.localName];
      if (handler === undefined) throw new Error(`${desc.typeName}.${method.name} has no handler.`);
      return handler.bind(implementation) as MethodPlan["handler"];
    });
  }

  addRaw(desc: DescService, relay: RawRelay): this {
    return this.#addPlans(desc, true, () => relay as MethodPlan["handler"]);
  }

  #addPlans(desc: DescService, raw: boolean, handlerOf: (m: DescMethod) => MethodPlan["handler"]) {
    if (this.#dispatcher !== undefined) throw new Error("Services are added before listen().");
    this.#plans.push(...planService(desc, raw, handlerOf));
    this.#services.push(desc);
    return this;
  }

  async listen(): Promise<{ port: number; address: string }> {
    const { service, logger, host, port, limits, tls } = this.#options;
    const health = createHealth(this.#services.map((desc) => desc.typeName));
    this.#health = health;
    const healthPlans = planService(health.desc, false, (m) => {
      const handler = health.handlers[m.localName];
      if (handler === undefined) throw new Error(`Health has no handler for ${m.name}.`);
      return handler;
    });
    const plans = [...this.#plans, ...healthPlans];
    const run = composeInterceptors(
      standardInterceptors({
        ...this.#options,
        defaultDeadlineMs: limits?.defaultDeadlineMs ?? DEFAULT_DEADLINE_MS,
        plans,
      }),
      invokeHandler,
    );
    const dispatcher = createDispatcher(service, logger, run);
    this.#dispatcher = dispatcher;
    for (const plan of plans) this.#register(plan, dispatcher);
    addReflection(this.#server, [...this.#services, health.desc]);
    const bound = await new Promise<number>((resolve, reject) => {
      const credentials = serverCredentials(tls);
      this.#server.bindAsync(`${host}:${port}`, credentials, (error, boundPort) => {
        if (error === null) resolve(boundPort);
        else reject(error);
      });
    });
    health.setServing(true);
    return { port: bound, address: `${host}:${bound}` };
  }

  #register(plan: MethodPlan, dispatcher: Dispatcher): void {
    const definition = {
      path: plan.path,
      requestStream: plan.requestStream,
      responseStream: plan.responseStream,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    };
    const implementation = {
      call: dispatcher.accept(plan),
    } as unknown as UntypedServiceImplementation;
    this.#server.addService({ call: definition }, implementation);
  }

  setServing(serving: boolean): void {
    this.#health?.setServing(serving);
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#drainAndStop(graceMs);
    return this.#closing;
  }

  async #drainAndStop(graceMs: number): Promise<void> {
    this.setServing(false);
    const lingerMs = this.#options.limits?.drainLingerMs ?? DRAIN_LINGER_MS;
    this.#dispatcher?.drain(Math.min(lingerMs, graceMs / 2));
    const stopped = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    let timer: NodeJS.Timeout | undefined;
    const graceOver = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#dispatcher?.endAll();
        // One turn of the event loop lets the statuses just sent reach the socket.
        setImmediate(() => {
          this.#server.forceShutdown();
          resolve();
        });
      }, graceMs);
    });
    await Promise.race([stopped, graceOver]);
    clearTimeout(timer);
  }
}

function serverOptions(limits: RpcServerLimits): ServerOptions {
  const maxMessageBytes = limits.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  return {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.max_concurrent_streams": limits.maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS,
    "grpc.max_connection_age_ms": limits.maxConnectionAgeMs ?? MAX_CONNECTION_AGE_MS,
    "grpc.max_connection_age_grace_ms":
      limits.maxConnectionAgeGraceMs ?? MAX_CONNECTION_AGE_GRACE_MS,
    "grpc.keepalive_time_ms": SERVER_KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": SERVER_KEEPALIVE_TIMEOUT_MS,
    "grpc.enable_channelz": 0,
  };
}
