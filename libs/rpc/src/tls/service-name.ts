/** The names of services in certificates: SPIFFE ids of the form `spiffe://<trust domain>/nexus/<service>`. */

/** As a trust domain is written: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md */
const SPIFFE_ID = /^spiffe:\/\/([a-z0-9._-]{1,255})\/nexus\/([a-z][a-z0-9-]{0,62})$/;
/** Node separates alternative names by a comma and a space, and writes one with an unusual character as a JSON text. */
const ALTERNATIVE_NAME = /(?:[^,"]|"(?:[^"\\]|\\.)*")+/g;

/** Writes the name of a service. */
export function spiffeIdOf(trustDomain: string, service: string): string {
  return `spiffe://${trustDomain}/nexus/${service}`;
}

/** All URI names of a certificate, from Node's text of its alternative names. */
export function uriNames(subjectAltName: string | undefined): readonly string[] {
  const names = subjectAltName?.match(ALTERNATIVE_NAME) ?? [];
  return names.map((name) => name.trim()).flatMap((name) => tryUri(name) ?? []);
}

/** The service that a certificate names: undefined without exactly one SPIFFE id, of this trust domain and our form. */
export function serviceNameOf(
  subjectAltName: string | undefined,
  trustDomain: string,
): string | undefined {
  const ids = uriNames(subjectAltName).filter((name) => name.startsWith("spiffe:"));
  const [, domain, service] = SPIFFE_ID.exec(ids[0] ?? "") ?? [];
  return ids.length === 1 && domain === trustDomain ? service : undefined;
}

function tryUri(name: string): string | undefined {
  return name.startsWith("URI:") ? name.slice("URI:".length) : undefined;
}
