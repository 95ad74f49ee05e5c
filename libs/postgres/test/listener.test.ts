import { createListener, type Listener } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

let open: OpenDatabase;
let listener: Listener;
let heard: string[];
let connects: number;
let warnings: string[];

beforeAll(async () => {
  open = await openDatabase();
});

afterAll(async () => {
  await open.close();
});

afterEach(async () => {
  await listener.close();
});

async function listen(onNotify?: (channel: string, payload: string) => void): Promise<void> {
  heard = [];
  warnings = [];
  connects = 0;
  listener = createListener({
    url: open.database.url,
    channels: ["changes", "wakeups"],
    onNotify: onNotify ?? ((channel, payload) => heard.push(`${channel}:${payload}`)),
    onReconnect: () => {
      connects += 1;
    },
    logger: { warn: (_fields, message) => warnings.push(message) },
  });
  await listener.ready;
}

async function notify(channel: string, payload: string): Promise<void> {
  await open.pool.query("SELECT pg_notify($1, $2)", [channel, payload]);
}

async function cutConnection(): Promise<void> {
  await open.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'nexus-listener' AND datname = current_database()`,
  );
}

describe("createListener", () => {
  it("hears every channel once it is ready", async () => {
    await listen();
    expect(connects).toBe(1);
    await notify("changes", "1");
    await notify("wakeups", "");
    await notify("other", "x");
    await waitFor(() => heard.length === 2, { what: "two notifications" });
    expect(heard).toEqual(["changes:1", "wakeups:"]);
  });

  it("comes back after its connection is cut, and says so", async () => {
    await listen();
    await cutConnection();
    await waitFor(() => connects === 2, { what: "the second connection" });
    await notify("changes", "after");
    await waitFor(() => heard.includes("changes:after"), { what: "a later notification" });
    expect(warnings).toEqual(["listener lost"]);
  });

  it("keeps listening when a callback throws", async () => {
    let calls = 0;
    await listen(() => {
      calls += 1;
      throw new Error("callback failed");
    });
    await notify("changes", "1");
    await notify("changes", "2");
    await waitFor(() => calls === 2, { what: "both calls" });
    expect(warnings).toEqual(["listener callback threw", "listener callback threw"]);
    expect(connects).toBe(1);
  });

  it("closes while the server is out of reach", async () => {
    heard = [];
    listener = createListener({
      url: "postgres://nobody:x@127.0.0.1:1/none",
      channels: ["changes"],
      onNotify: () => undefined,
      onReconnect: () => undefined,
      logger: { warn: (_fields, message) => warnings.push(message) },
    });
    await waitFor(() => warnings.includes("listener lost"), { what: "a failed attempt" });
    await listener.close();
    await listener.ready;
  });
});
