import { randomBytes } from "node:crypto";
import { KeyType } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  createUser,
  type Fleet,
  KEY,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, OTHER_CONTEXT } from "./_transit.ts";

const MIB = 1024 * 1024;
const FAILED = "invalid/DECRYPTION_FAILED";
const KEY_NAME = "streams";

let fleet: Fleet;
let vault: Replica;
let admin: Session;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start({ streamMaxBytes: 6 * MIB });
  admin = await login(vault);
  await createKey(vault, admin, { name: KEY_NAME });
});

afterAll(async () => {
  await fleet.close();
});

type Frame = { case: "start"; value: object } | { case: "chunk"; value: Uint8Array };

async function* frames(list: readonly Frame[]) {
  for (const frame of list) yield { frame } as never;
}

/** Frames after which the caller neither goes on nor ends. */
async function* silent(list: readonly Frame[]) {
  yield* frames(list);
  await new Promise(() => undefined);
}

function pieces(body: Buffer, size: number): Frame[] {
  const count = Math.ceil(body.byteLength / size);
  return Array.from({ length: count }, (_, index) => ({
    case: "chunk" as const,
    value: body.subarray(index * size, (index + 1) * size),
  }));
}

const start = (value: object = {}): Frame => ({
  case: "start",
  value: { keyName: KEY_NAME, context: CONTEXT, ...value },
});

async function seal(list: readonly Frame[], caller = admin) {
  let keyVersion = 0;
  const parts: Uint8Array[] = [];
  for await (const { frame } of vault.transit.encryptStream(frames(list), caller)) {
    if (frame.case === "keyVersion") keyVersion = frame.value;
    if (frame.case === "chunk") parts.push(frame.value);
  }
  return { keyVersion, ciphertext: Buffer.concat(parts) };
}

async function open(list: readonly Frame[], caller = admin): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const { chunk } of vault.transit.decryptStream(frames(list), caller)) {
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

describe("EncryptStream and DecryptStream", () => {
  it("carry a body of any length in pieces of any size", async () => {
    for (const [length, size] of [
      [0, 1],
      [1, 1],
      [16_384, 5000],
      [5 * MIB + 3, MIB],
      [300_000, 16_384],
    ] as const) {
      const body = randomBytes(length);
      const { keyVersion, ciphertext } = await seal([start(), ...pieces(body, size)]);
      expect(keyVersion).toBe(1);
      const opened = await open([start({ keyVersion }), ...pieces(ciphertext, 77_777)]);
      expect(opened.equals(body), `${length} bytes`).toBe(true);
    }
  });

  it("refuse another context, a change, and a body whose end is missing", async () => {
    const body = randomBytes(50_000);
    const { ciphertext } = await seal([start(), ...pieces(body, 10_000)]);
    const attempt = (bytes: Buffer, more: object = {}) =>
      outcome(open([start({ keyVersion: 1, ...more }), ...pieces(bytes, 9000)]));
    expect(await attempt(ciphertext)).toBe("ok");
    expect(await attempt(ciphertext, { context: OTHER_CONTEXT })).toBe(FAILED);
    expect(await attempt(ciphertext, { keyVersion: 2 })).toBe("not_found/KEY_VERSION_NOT_FOUND");
    for (const at of [0, 30, 56, 20_000, ciphertext.byteLength - 1]) {
      const changed = Buffer.from(ciphertext);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      expect(await attempt(changed), `byte ${at}`).toBe(FAILED);
    }
    for (const length of [0, 20, 56, 56 + 16_400, ciphertext.byteLength - 16]) {
      expect(await attempt(ciphertext.subarray(0, length)), `${length} bytes`).toBe(FAILED);
    }
  });

  it("hand out what is authentic before the end is known, and fail when it is missing", async () => {
    const body = randomBytes(40_000);
    const { ciphertext } = await seal([start(), ...pieces(body, 10_000)]);
    const cut = pieces(ciphertext.subarray(0, 56 + 2 * 16_400), 16_400);
    const received: Uint8Array[] = [];
    const reading = (async () => {
      const stream = vault.transit.decryptStream(frames([start({ keyVersion: 1 }), ...cut]), admin);
      for await (const { chunk } of stream) received.push(chunk);
    })();
    expect(await outcome(reading)).toBe(FAILED);
    expect(Buffer.concat(received).equals(body.subarray(0, 32_768))).toBe(true);
  });

  it("refuse a stream that begins or goes on wrongly, is too large, or is for another key", async () => {
    const chunk: Frame = { case: "chunk", value: Buffer.alloc(10) };
    expect(await outcome(seal([chunk]))).toBe("invalid/FRAME_INVALID");
    expect(await outcome(seal([]))).toBe("invalid/FRAME_INVALID");
    expect(await outcome(seal([start(), start()]))).toBe("invalid/FRAME_INVALID");
    expect(await outcome(open([chunk]))).toBe("invalid/FRAME_INVALID");
    const large = pieces(Buffer.alloc(7 * MIB), MIB);
    expect(await outcome(seal([start(), ...large]))).toBe("invalid/BODY_TOO_LARGE");
    const piece: Frame = { case: "chunk", value: Buffer.alloc(MIB + 1) };
    expect(await outcome(seal([start(), piece]))).toBe("invalid/REQUEST_INVALID");
    const plain = await createKey(vault, admin, { type: KeyType.PLAIN_GCM });
    const wrong = [start({ keyName: plain.name }), chunk];
    expect(await outcome(seal(wrong))).toBe("precondition/KEY_TYPE_WRONG");
    const user = await createUser(vault, admin);
    expect(await outcome(seal([start()], user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(open([start({ keyVersion: 1 })], user))).toBe("forbidden/SCOPE_MISSING");
  });

  it("take a body up to the limit and no byte more, so that what was encrypted decrypts", async () => {
    const body = randomBytes(6 * MIB);
    const { keyVersion, ciphertext } = await seal([start(), ...pieces(body, MIB)]);
    expect((await open([start({ keyVersion }), ...pieces(ciphertext, MIB)])).equals(body)).toBe(
      true,
    );
    const more = Buffer.concat([body, Buffer.of(0)]);
    expect(await outcome(seal([start(), ...pieces(more, MIB)]))).toBe("invalid/BODY_TOO_LARGE");
    const longer = Buffer.concat([ciphertext, Buffer.of(0)]);
    const opened = open([start({ keyVersion }), ...pieces(longer, MIB)]);
    expect(await outcome(opened)).toBe("invalid/BODY_TOO_LARGE");
  });

  it("end when the key is disabled or destroyed or vault is sealed, though the caller is silent", async () => {
    const body = randomBytes(20_000);
    const ends: Readonly<Record<string, (name: string) => Promise<unknown>>> = {
      KEY_DISABLED: (name) => vault.keys.disableKey({ requestId: requestId(), name }, admin),
      KEY_DESTROYED: (name) => vault.keys.destroyKey({ requestId: requestId(), name }, admin),
      VAULT_SEALED: () => vault.seal.seal({}, admin),
    };
    for (const [reason, end] of Object.entries(ends)) {
      const { name } = await createKey(vault, admin, { deletionAllowed: true });
      const first = start({ keyName: name, keyVersion: 1 });
      const { ciphertext } = await seal([start({ keyName: name }), ...pieces(body, MIB)]);
      const sealing = vault.transit.encryptStream(silent([start({ keyName: name })]), admin);
      const opening = vault.transit.decryptStream(
        silent([first, ...pieces(ciphertext, MIB)]),
        admin,
      );
      const streams = [sealing, opening].map((stream) => stream[Symbol.asyncIterator]());
      for (const stream of streams) expect((await stream.next()).done).not.toBe(true);
      await end(name);
      for (const stream of streams) {
        const rest = (async () => {
          for (let step = await stream.next(); step.done !== true; step = await stream.next());
        })();
        expect(await outcome(rest)).toBe(`precondition/${reason}`);
      }
    }
    await vault.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
  });

  it("end when vault is sealed in the middle of them", async () => {
    let goOn: (() => void) | undefined;
    const paused = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* slowly() {
      yield { frame: start() } as never;
      yield { frame: { case: "chunk", value: Buffer.alloc(100) } } as never;
      await paused;
      yield { frame: { case: "chunk", value: Buffer.alloc(100) } } as never;
    }
    const stream = vault.transit.encryptStream(slowly(), admin)[Symbol.asyncIterator]();
    expect((await stream.next()).value?.frame.case).toBe("keyVersion");
    await vault.seal.seal({}, admin);
    goOn?.();
    const rest = (async () => {
      for (let step = await stream.next(); step.done !== true; step = await stream.next());
    })();
    expect(await outcome(rest)).toBe("precondition/VAULT_SEALED");
    await vault.seal.unseal({ rootKey: Buffer.from(KEY, "base64") });
    expect(await outcome(seal([start()]))).toBe("ok");
  });
});
