import { expect, it } from "vitest";
import * as limits from "./limits.ts";

it("limits are the numbers that the documents promise", () => {
  expect(limits).toMatchObject({
    MAX_MESSAGE_BYTES: 4_194_304,
    MAX_HEADER_BYTES: 16_384,
    DEFAULT_DEADLINE_MS: 30_000,
    DEFAULT_CLIENT_TIMEOUT_MS: 10_000,
    DEADLINE_MARGIN_MS: 20,
    MAX_ATTEMPTS: 4,
    CLIENT_KEEPALIVE_MS: 10_000,
    CLIENT_KEEPALIVE_TIMEOUT_MS: 10_000,
    HANDSHAKE_MAX_MS: 10_000,
    WRITE_BUFFER_BYTES: 262_144,
    READ_BUFFER_BYTES: 262_144,
  });
});
