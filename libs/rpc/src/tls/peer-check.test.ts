import type { PeerCertificate } from "node:tls";
import { describe, expect, it } from "vitest";
import { createPeerCheck, hostsOf } from "./peer-check.ts";
import { serviceNameOf, uriNames } from "./service-name.ts";

function certificate(subjectaltname: string): PeerCertificate {
  return { subjectaltname, subject: { CN: "x" } } as unknown as PeerCertificate;
}

describe("hostsOf", () => {
  it("finds what is dialled in every form of an address", () => {
    expect(hostsOf("registry:7401")).toEqual(["registry"]);
    expect(hostsOf("dns:///registry.nexus:7401")).toEqual(["registry.nexus"]);
    expect(hostsOf("ipv4:10.0.0.1:7401,10.0.0.2:7401")).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(hostsOf("[::1]:7401")).toEqual(["::1"]);
    expect(hostsOf("unix:/run/kms.sock")).toEqual([]);
  });
});

describe("createPeerCheck", () => {
  it("holds a certificate against the host when no service is meant, and refuses without a host", () => {
    const of = (address: string) => createPeerCheck({}, hostsOf(address));
    const names = certificate("DNS:gateway.example, IP Address:10.0.0.1");
    for (const good of ["gateway.example:1", "10.0.0.1:1", "ipv4:10.0.0.1:1,10.0.0.2:1"]) {
      expect(of(good)(names), good).toBeUndefined();
    }
    for (const bad of ["other.example:1", "10.0.0.2:1", "unix:/run/x"]) {
      expect(of(bad)(names), bad).toBeInstanceOf(Error);
    }
  });

  it("wants the id of the service that is meant, whatever hosts the certificate is for", () => {
    const check = createPeerCheck({ peer: "vault", trustDomain: "a.example" }, ["vault"]);
    expect(check(certificate("URI:spiffe://a.example/nexus/vault"))).toBeUndefined();
    for (const wrong of [
      "DNS:vault",
      "DNS:vault, URI:spiffe://a.example/nexus/registry",
      "URI:spiffe://b.example/nexus/vault",
    ]) {
      expect(check(certificate(wrong)), wrong).toBeInstanceOf(Error);
    }
  });
});

describe("serviceNameOf", () => {
  const nameOf = (text: string) => serviceNameOf(text, "a.example");

  it("reads the one id, wherever it stands", () => {
    expect(nameOf("DNS:x, URI:spiffe://a.example/nexus/mesh-router, IP Address:::1")).toBe(
      "mesh-router",
    );
  });

  it("reads none where there are two, a longer path, another form, or a text that only looks like one", () => {
    for (const text of [
      "URI:spiffe://a.example/nexus/vault, URI:spiffe://a.example/nexus/registry",
      "URI:spiffe://a.example/nexus/vault/x",
      "URI:spiffe://a.example/nexus/",
      "URI:spiffe://a.example:1/nexus/vault",
      "URI:SPIFFE://a.example/nexus/vault",
      "URI:https://a.example/nexus/vault",
      'DNS:"x, URI:spiffe://a.example/nexus/vault"',
      "",
    ]) {
      expect(nameOf(text), text).toBeUndefined();
    }
    expect(uriNames(undefined)).toEqual([]);
  });
});
