import { describe, expect, it } from "vitest";
import { renderBanner } from "./banner.ts";
import { planPorts } from "./stack/port-plan.ts";
import { describeStack } from "./stack/stack-info.ts";

describe("renderBanner", () => {
  const info = describeStack({
    ports: planPorts(7400),
    pidOf: () => 1,
    postgresPid: 2,
    redisPid: 0,
    adminCredentialsFile: "/home/me/nexus/.nexus/admin-credentials.json",
    dataDir: "/home/me/nexus/.nexus",
  });

  it("says what is where, how to log in and what to try", () => {
    const text = renderBanner(info, 3210, "/home/me/nexus");
    for (const part of [
      "NEXUS is ready (3.2 s)",
      "127.0.0.1:7400",
      "http://127.0.0.1:7480",
      "127.0.0.1:7405",
      ".nexus/admin-credentials.json",
      "npx nexus login --credentials-file .nexus/admin-credentials.json\n",
      "npx nexus status",
      "npx nexus principals create",
      "npm run demo",
      "grpcurl -plaintext 127.0.0.1:7400 list",
    ]) {
      expect(text).toContain(part);
    }
    expect(text.split("\n").every((line) => line.length <= 100)).toBe(true);
  });

  it("names a gateway that is not on the default port", () => {
    const other = { ...info, gateway: "127.0.0.1:8400" };
    expect(renderBanner(other, 1, "/home/me/nexus")).toContain("--gateway 127.0.0.1:8400");
  });

  it("names a data directory that is elsewhere in full", () => {
    expect(renderBanner(info, 1, "/srv")).toContain("/home/me/nexus/.nexus/admin-credentials.json");
  });
});
