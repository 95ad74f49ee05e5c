import { create } from "@bufbuild/protobuf";
import { PayloadSchema } from "@nexus/proto/common";
import type { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { fromPayload, PAYLOAD_BYTES_MAX, RawPayload, toPayload } from "./payload.ts";

function reasonOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return (error as NexusError).reason;
  }
}

describe("toPayload and fromPayload", () => {
  it.each([[{ a: [1, "two", null] }], ["text"], [0], [null], [[]], [true]])(
    "bring %j through as JSON",
    (value) => {
      const payload = toPayload(value);
      expect(payload.contentType).toBe("application/json");
      expect(fromPayload(create(PayloadSchema, payload))).toEqual(value);
    },
  );

  it("bring bytes through as bytes", () => {
    const bytes = new Uint8Array([0, 255, 1]);
    const payload = toPayload(bytes);
    expect(payload.contentType).toBe("application/octet-stream");
    expect(fromPayload(create(PayloadSchema, payload))).toEqual(bytes);
  });

  it("keep the media type of a raw payload and read text as text", () => {
    const raw = new RawPayload("text/markdown; charset=utf-8", new TextEncoder().encode("# T"));
    const payload = toPayload(raw);
    expect(payload.contentType).toBe("text/markdown; charset=utf-8");
    expect(fromPayload(create(PayloadSchema, payload))).toBe("# T");
  });

  it("treat nothing as null on the way out and as undefined on the way in", () => {
    expect(fromPayload(create(PayloadSchema, toPayload(undefined)))).toBeNull();
    expect(fromPayload(undefined)).toBeUndefined();
  });

  it("refuse what JSON cannot express, what is too large, and what is not the JSON it claims", () => {
    expect(reasonOf(() => toPayload(() => 1))).toBe("PAYLOAD_NOT_JSON");
    expect(reasonOf(() => toPayload("x".repeat(PAYLOAD_BYTES_MAX)))).toBe("PAYLOAD_TOO_LARGE");
    const bad = create(PayloadSchema, {
      contentType: "application/json",
      data: new TextEncoder().encode("{"),
    });
    expect(reasonOf(() => fromPayload(bad))).toBe("PAYLOAD_NOT_JSON");
    const torn = create(PayloadSchema, {
      contentType: "application/json",
      data: new Uint8Array([0x22, 0xff, 0x22]),
    });
    expect(reasonOf(() => fromPayload(torn))).toBe("PAYLOAD_NOT_JSON");
  });

  it("read JSON behind a byte order mark, in any script", () => {
    const data = new TextEncoder().encode('\ufeff"grüß dich 😀 \ufffd"');
    const payload = create(PayloadSchema, { contentType: "application/json", data });
    expect(fromPayload(payload)).toBe("grüß dich 😀 \ufffd");
  });

  it("accept exactly the limit", () => {
    expect(toPayload(new Uint8Array(PAYLOAD_BYTES_MAX)).data.byteLength).toBe(262_144);
  });
});
