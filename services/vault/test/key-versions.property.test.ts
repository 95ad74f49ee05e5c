import { KeyType } from "@nexus/proto/vault";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  type Fleet,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, decrypt, encrypt } from "./_transit.ts";

const RUNS = 20;
const TOO_OLD = "precondition/KEY_VERSION_TOO_OLD";
const TEST_TIMEOUT_MS = 120_000;

let fleet: Fleet;
let replicas: readonly Replica[];
let admin: Session;

beforeAll(async () => {
  fleet = await createFleet();
  replicas = [await fleet.start(), await fleet.start()];
  admin = await login(replicas[0] as Replica);
});

afterAll(async () => {
  await fleet.close();
});

/** What happens to a key and its ciphertexts; `on` is the replica that does it. */
const step = fc.record({
  on: fc.nat(1),
  what: fc.oneof(
    fc.constant({ kind: "encrypt" } as const),
    fc.constant({ kind: "rotate" } as const),
    fc.record({ kind: fc.constant("rewrap" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("minimum" as const), version: fc.integer({ min: 1, max: 5 }) }),
  ),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Held {
  readonly text: string;
  readonly version: number;
}

/** The key as it should be, and the ciphertexts that somebody holds. */
interface Model {
  readonly name: string;
  latest: number;
  minimum: number;
  readonly held: Held[];
}

const versionOf = (text: string) => Number(/:v(\d+):/.exec(text)?.[1]);
const hold = (text: string): Held => ({ text, version: versionOf(text) });

async function apply({ on, what }: Step, model: Model): Promise<void> {
  const replica = replicas[on] as Replica;
  const { name } = model;
  switch (what.kind) {
    case "encrypt":
      // A replica that has not heard of a rotation yet encrypts under the version before.
      model.held.push(hold(await encrypt(replica, admin, name)));
      return;
    case "rotate":
      await replica.keys.rotateKey({ requestId: requestId(), name }, admin);
      model.latest++;
      return;
    case "minimum": {
      const change = {
        requestId: requestId(),
        name,
        minDecryptionVersion: what.version,
        force: true,
      };
      const ended = await outcome(replica.keys.updateKey(change, admin));
      const allowed = what.version <= model.latest;
      expect(ended).toBe(allowed ? "ok" : "not_found/KEY_VERSION_NOT_FOUND");
      if (allowed) model.minimum = what.version;
      return;
    }
    case "rewrap":
      await rewrap(replica, model, what.which);
  }
}

async function rewrap(replica: Replica, model: Model, which: number): Promise<void> {
  const index = model.held.length === 0 ? 0 : which % model.held.length;
  const before = model.held[index];
  if (before === undefined || before.version < model.minimum) return;
  const request = { keyName: model.name, ciphertext: before.text, context: CONTEXT };
  const { ciphertext } = await replica.transit.rewrap(request, admin);
  model.held[index] = hold(ciphertext);
}

describe("over all interleavings of rotate, encrypt, rewrap and minimum version", () => {
  it(
    "a ciphertext decrypts exactly when its version allows",
    async () => {
      const check = async (type: KeyType, steps: readonly Step[]) => {
        const { name } = await createKey(replicas[0] as Replica, admin, { type });
        const model: Model = { name, latest: 1, minimum: 1, held: [] };
        for (const next of steps) await apply(next, model);
        // The replica that changed the minimum last knows it at once; asking the other one is the other test's matter.
        const [vault] = replicas as [Replica];
        const minimum = {
          requestId: requestId(),
          name,
          minDecryptionVersion: model.minimum,
          force: true,
        };
        await vault.keys.updateKey(minimum, admin);
        for (const { text, version } of model.held) {
          if (version >= model.minimum) {
            expect(await decrypt(vault, admin, name, text)).toBe("a secret");
            continue;
          }
          expect(await outcome(decrypt(vault, admin, name, text))).toBe(TOO_OLD);
          // What may not be opened may not come back under a younger version either.
          const request = { keyName: name, ciphertext: text, context: CONTEXT };
          expect(await outcome(vault.transit.rewrap(request, admin))).toBe(TOO_OLD);
        }
      };
      const both = fc.constantFrom(KeyType.ENVELOPE, KeyType.PLAIN_GCM);
      await fc.assert(fc.asyncProperty(both, fc.array(step, { maxLength: 12 }), check), {
        numRuns: RUNS,
      });
    },
    TEST_TIMEOUT_MS,
  );
});
