import { describe, expect, it } from "vitest";
import { openGatewayChannel, STREAMS_PER_CONNECTION } from "./gateway-channel.ts";

const GATEWAY = "127.0.0.1:7400";
const OTHER = "127.0.0.1:8400";

/** Nothing is dialled before the first call. */
function open(gateway: string) {
  return openGatewayChannel(gateway, undefined);
}

describe("channels of one process", () => {
  it("take calls to the connection with the fewest streams", () => {
    const channel = open(GATEWAY);
    const [first] = Array.from({ length: STREAMS_PER_CONNECTION }, () => channel.placeStream());
    expect(channel.transport).toBe(first?.transport);
    const next = channel.placeStream();
    expect(channel.transport).toBe(next.transport);
    next.leave();
    channel.close();
  });

  it("share a connection to a gateway, and streams begin another when it has enough of them", () => {
    const [one, two, elsewhere] = [open(GATEWAY), open(GATEWAY), open(OTHER)];
    const { transport: first } = one;
    const places = Array.from({ length: STREAMS_PER_CONNECTION }, (_, at) =>
      (at % 2 === 0 ? one : two).placeStream(),
    );
    expect(new Set(places.map(({ transport }) => transport))).toEqual(new Set([first]));
    expect(two.transport).toBe(first);
    expect(elsewhere.transport).not.toBe(first);
    expect(two.placeStream().transport).not.toBe(first);
    places[0]?.leave();
    places[0]?.leave();
    expect(one.placeStream().transport).toBe(first);
    expect(one.placeStream().transport).not.toBe(first);
    for (const channel of [one, two, elsewhere]) channel.close();
  });

  it("are of no use once closed, each by itself, and begin anew when all are", () => {
    const [one, two] = [open(GATEWAY), open(GATEWAY)];
    const first = two.transport;
    one.close();
    one.close();
    expect([one.closed?.aborted, two.closed?.aborted]).toEqual([true, false]);
    expect(() => one.transport).toThrow("closed");
    expect(() => one.placeStream()).toThrow("closed");
    expect(two.placeStream().transport).toBe(first);
    two.close();
    const three = open(GATEWAY);
    expect(three.transport).not.toBe(first);
    three.close();
  });
});
