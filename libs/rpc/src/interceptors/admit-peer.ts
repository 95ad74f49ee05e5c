import type { TLSSocket } from "node:tls";
import { NexusError } from "@nexus/shared";
import { CLIENT_ADDRESS_HEADER } from "../client/call-options.ts";
import type { Interceptor, ServerCall } from "../server/interceptor.ts";
import { ANY_SERVICE, ANYONE, type MethodPlan } from "../server/method-plan.ts";
import { serviceNameOf } from "../tls/service-name.ts";

/** Whose server this is, and whose names count. */
export interface AdmitPeerOptions {
  readonly service: string;
  readonly trustDomain: string;
}

/** The caller that every public contract is open to: it passes on what users and agents call. */
const GATEWAY = "gateway";

/** An address with or without a port, IPv6 with or without its zone. */
const ADDRESS = /^[\w.:%[\]-]{1,64}$/;

/** Lets a call in by the service that the client's certificate names, as the contract says; the token is checked besides. A call
 * that the gateway, or another replica of this service, passes on comes from where that one says.
 *
 * Errors: unauthenticated/PEER_UNKNOWN without a good certificate of a service; forbidden/CALLER_NOT_ALLOWED. */
export function createAdmitPeer({ service, trustDomain }: AdmitPeerOptions): Interceptor {
  // A certificate is read once for each connection: that costs as much as a small call.
  const peers = new WeakMap<object, string | typeof NOBODY>();

  function peerOf({ transport }: ServerCall): string | undefined {
    const { session } = transport;
    if (session === undefined) return undefined;
    const known = peers.get(session);
    if (known !== undefined) return known === NOBODY ? undefined : known;
    const peer = readPeer(session.socket as Partial<TLSSocket>, trustDomain);
    peers.set(session, peer ?? NOBODY);
    return peer;
  }

  return async (call, next) => {
    const caller = peerOf(call);
    assertAdmitted(call.plan, caller, service);
    const address = call.state.metadata.get(CLIENT_ADDRESS_HEADER) ?? "";
    const passesOn = caller === GATEWAY || caller === service;
    if (passesOn && ADDRESS.test(address)) call.state.peer = address;
    return next();
  };
}

const NOBODY = Symbol("nobody");

/** Errors: as createAdmitPeer(). */
export function assertAdmitted(
  plan: Pick<MethodPlan, "internal" | "callers">,
  peer: string | undefined,
  service: string,
): void {
  if (plan.callers.includes(ANYONE)) return;
  if (peer === undefined) throw peerUnknown();
  if (plan.callers.includes(peer) || plan.callers.includes(ANY_SERVICE)) return;
  if (!plan.internal && (peer === GATEWAY || peer === service)) return;
  throw callerNotAllowed(peer);
}

/** Where certificates are optional a bad one does not end the handshake, so only a verified one counts here. */
function readPeer(socket: Partial<TLSSocket>, trustDomain: string): string | undefined {
  if (socket.authorized !== true) return undefined;
  return serviceNameOf(socket.getPeerCertificate?.()?.subjectaltname, trustDomain);
}

function peerUnknown(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "PEER_UNKNOWN",
    message:
      "This port takes calls of NEXUS services, and the connection brought no certificate of one.",
  });
}

function callerNotAllowed(peer: string): NexusError {
  return new NexusError({
    kind: "forbidden",
    reason: "CALLER_NOT_ALLOWED",
    message: `The contract does not let ${peer} call this method directly.`,
    details: { metadata: { caller: peer } },
  });
}
