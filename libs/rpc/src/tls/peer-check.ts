import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { TlsOptions } from "./material.ts";
import { serviceNameOf, uriNames } from "./service-name.ts";

/** Asked after a server's chain was found good: is it the server that was meant? */
export type PeerCheck = (certificate: PeerCertificate) => Error | undefined;

const HOST_PORT = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):\d+$/;

/** Creates the check of a channel: with a service that is meant, the certificate has to carry its SPIFFE id, wherever it was
 * dialled; otherwise it has to be for a host that was dialled.
 *
 * An id is never waived for a fitting host: who can get a certificate for a host could stand for every service on it. */
export function createPeerCheck(
  { peer, trustDomain }: Pick<TlsOptions, "peer" | "trustDomain">,
  hosts: readonly string[],
): PeerCheck {
  if (peer === undefined || trustDomain === undefined) {
    return (certificate) => {
      const problems = hosts.map((host) => checkServerIdentity(host, certificate));
      return problems.includes(undefined) ? undefined : (problems[0] ?? new Error("No host."));
    };
  }
  return ({ subjectaltname }) => {
    if (serviceNameOf(subjectaltname, trustDomain) === peer) return undefined;
    const ids = uriNames(subjectaltname);
    const found = ids.length === 0 ? "names no service" : `is that of ${ids.join(" and ")}`;
    return new Error(`The certificate of the server ${found}, and ${peer} was meant.`);
  };
}

/** The hosts of a channel's address: `host:port`, `dns:///host:port`, or `ipv4:ip:port,ip:port`. None for a socket. */
export function hostsOf(address: string): readonly string[] {
  const bare = address.replace(/^(?:dns:\/\/\/|dns:|ipv4:|ipv6:)/, "");
  return bare.split(",").flatMap((one) => {
    const [, ipv6, host] = HOST_PORT.exec(one) ?? [];
    return ipv6 ?? host ?? [];
  });
}
