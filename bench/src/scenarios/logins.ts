/** How many people can log in, beside what the hash alone allows. */
import { LOGIN_CONCURRENCY, passwordIterations } from "../bed/fleet.ts";
import { formatCount } from "../report.ts";
import { type Scenario, seconds, shortfall, stretchOf } from "./scenario.ts";

const FULL = { warmUpMs: 1_000, measureMs: 10_000 };
/** Many times what one hash takes, and what the others in the queue before it do. */
const QUICK = { warmUpMs: 0, measureMs: 1_000 };

/** Twice what vault hashes at once, so that its queue is never empty and never full. */
const LOGINS_IN_FLIGHT = LOGIN_CONCURRENCY * 2;

/** The bare hash in the client process first, then logins through the gateway. */
export const loginsScenario: Scenario = {
  name: "logins",
  about: "password logins a second, beside the bare PBKDF2 rate of the machine",
  partOf: "vault",
  run: async (bed) => {
    const stretch = stretchOf(bed, FULL, QUICK);
    const hashing = passwordIterations(bed);
    const [client, user] = await Promise.all([bed.client(), bed.createUser()]);
    const hashes = await client.call("hashPasswords", {
      ...stretch,
      iterations: hashing,
      inFlight: LOGIN_CONCURRENCY,
    });
    const logins = await client.call("logIn", { ...stretch, ...user, inFlight: LOGINS_IN_FLIGHT });
    const iterations = `${formatCount(hashing)} iterations`;
    const took = seconds(stretch.measureMs);
    return [
      {
        key: "logins_per_second",
        value: logins.perSecond,
        load: `${LOGINS_IN_FLIGHT} in flight, vault hashes ${LOGIN_CONCURRENCY} at once, ${iterations}, ${took}${shortfall(logins)}`,
      },
      {
        key: "bare_hashes_per_second",
        value: hashes.perSecond,
        load: `${LOGIN_CONCURRENCY} at once in one process, ${iterations}, ${took}`,
      },
    ];
  },
};
