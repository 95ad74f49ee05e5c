import { describe, expect, it } from "vitest";
import { isLocalKms } from "./key-fields.ts";

describe("isLocalKms", () => {
  it("takes sockets and loopback, and no name that only begins like one", () => {
    for (const endpoint of ["unix:/run/kms.sock", "localhost:1", "127.0.0.1:1", "[::1]:1"]) {
      expect(isLocalKms(endpoint), endpoint).toBe(true);
    }
    for (const endpoint of ["127.example.com:1", "127.0.0.1.example.com:1", "10.0.0.1:1"]) {
      expect(isLocalKms(endpoint), endpoint).toBe(false);
    }
  });
});
