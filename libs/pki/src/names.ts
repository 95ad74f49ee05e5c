import type { CertificateNames } from "./certificate-names.ts";
import { type GeneralNameType, SubjectAlternativeNameExtension } from "./x509.ts";

const TYPES: Readonly<Record<keyof CertificateNames, GeneralNameType>> = {
  uris: "url",
  dnsNames: "dns",
  ipAddresses: "ip",
};

/** Writes names as an extension. */
export function toExtension(names: CertificateNames): SubjectAlternativeNameExtension {
  const kinds = Object.entries(TYPES) as [keyof CertificateNames, GeneralNameType][];
  return new SubjectAlternativeNameExtension(
    kinds.flatMap(([kind, type]) => names[kind].map((value) => ({ type, value }))),
  );
}

/** Reads the names of an extension; undefined when it holds one of a kind that is not known here. */
export function tryReadNames(
  extension: SubjectAlternativeNameExtension | undefined,
): CertificateNames | undefined {
  const items = extension?.names.items ?? [];
  const of = (type: GeneralNameType) =>
    items.filter((item) => item.type === type).map((item) => item.value);
  const names = { uris: of("url"), dnsNames: of("dns"), ipAddresses: of("ip") };
  const known = names.uris.length + names.dnsNames.length + names.ipAddresses.length;
  return known === items.length ? names : undefined;
}
