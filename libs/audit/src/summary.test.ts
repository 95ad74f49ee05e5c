import { create } from "@bufbuild/protobuf";
import {
  CreateKeyRequestSchema,
  CreatePrincipalRequestSchema,
  DecryptRequestSchema,
  KeyType,
  LoginRequestSchema,
} from "@nexus/proto/vault";
import { describe, expect, it } from "vitest";
import { summarise } from "./summary.ts";

const trusted = { hash: () => Buffer.alloc(32, 7), distrusted: false };

describe("summarise", () => {
  it("keeps what the contract marks, and says of the rest only that it is there", () => {
    const request = create(CreatePrincipalRequestSchema, {
      requestId: "r",
      principalId: "alice",
      scopes: ["a:b:c", "d:e:f"],
      password: "hunter2",
    });
    expect(summarise(CreatePrincipalRequestSchema, request, trusted)).toEqual({
      resource: "alice",
      fields: [
        { name: "scopes", value: "a:b:c d:e:f" },
        { name: "password", value: "[redacted]" },
      ],
    });
  });

  it("writes enums by name and durations in seconds, and leaves defaults out", () => {
    const request = create(CreateKeyRequestSchema, {
      name: "k",
      type: KeyType.PLAIN_GCM,
      rotationPeriod: { seconds: 3600n },
    });
    expect(summarise(CreateKeyRequestSchema, request, trusted).fields).toEqual([
      { name: "type", value: "KEY_TYPE_PLAIN_GCM" },
      { name: "rotation_period", value: "3600 s" },
    ]);
  });

  it("looks into messages that are kept, where unmarked fields are secret again", () => {
    const context = { resourceType: "order", resourceId: "7", associatedData: Buffer.from("x") };
    const request = create(DecryptRequestSchema, { keyName: "k", ciphertext: "nxv:...", context });
    expect(summarise(DecryptRequestSchema, request, trusted).fields).toEqual([
      { name: "ciphertext", value: "hmac:07070707070707070707070707070707" },
      { name: "context.resource_type", value: "order" },
      { name: "context.resource_id", value: "7" },
      { name: "context.associated_data", value: "[redacted]" },
    ]);
  });

  it("keeps no text of a distrusted call, and nothing at all without a key to digest it", () => {
    const request = create(LoginRequestSchema, { principalId: "hunter2", password: "x" });
    const digested = summarise(LoginRequestSchema, request, { ...trusted, distrusted: true });
    expect(digested.resource).toMatch(/^hmac:/);
    const keyless = { hash: () => undefined, distrusted: true };
    expect(summarise(LoginRequestSchema, request, keyless).resource).toBe("[redacted]");
  });

  it("cuts what is too long", () => {
    const request = create(LoginRequestSchema, { principalId: "n".repeat(1000) });
    expect(summarise(LoginRequestSchema, request, trusted).resource.length).toBe(257);
  });
});
