/** Writers of shared state, one for each policy: each writes what it knows how to, and remembers what it was answered. */
import type { StateService } from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc";
import { NexusError, sleep } from "@nexus/shared";

export const POLICIES = ["lww", "vector", "cas", "counter"] as const;
export type PolicyName = (typeof POLICIES)[number];
export const KEYS = ["a", "b", "c"] as const;
export type StateClient = RpcClient<typeof StateService>;

const PAUSE_MS = 10;
const CALL_TIMEOUT_MS = 1_500;
const AGAIN_MS = 30;

/** What one side wrote into one bucket, as it was answered. */
export interface Written {
  readonly side: string;
  /** By key: the last of its own values, with its revision. */
  readonly last: Map<string, { readonly value: string; readonly revision: bigint }>;
  answered: number;
  /** Calls that had to be said again. */
  repeated: number;
  /** CAS: the revisions that its writes replaced. */
  readonly replaced: bigint[];
  refused: number;
}

/** One write. */
export interface Step {
  readonly client: StateClient;
  readonly bucket: string;
  readonly key: string;
  readonly value: string;
  readonly written: Written;
}

/** Owns what was written in one run. */
export class StateWriters {
  /** By policy and writer. */
  readonly written = new Map<string, Written>();
  readonly #run: string;
  readonly #contexts = new Map<string, Uint8Array>();
  #isOver = false;
  #calls = 0;

  constructor(run: string) {
    this.#run = run;
  }

  /** Ends every writer once its call is answered. */
  stop(): void {
    this.#isOver = true;
  }

  /** Writes until it is over, each call again under its id until it is answered. */
  async write(
    policy: PolicyName,
    { client, bucket, who }: { client: StateClient; bucket: string; who: string },
  ): Promise<void> {
    const written: Written = {
      side: who,
      last: new Map(),
      answered: 0,
      repeated: 0,
      replaced: [],
      refused: 0,
    };
    this.written.set(`${policy} ${who}`, written);
    for (let number = 0; !this.#isOver; number += 1) {
      const key = KEYS[number % KEYS.length] ?? "";
      await this.writeOne(policy, { client, bucket, key, value: `${who} ${number}`, written });
      await sleep(PAUSE_MS);
    }
  }

  /** Writes once. */
  async writeOne(policy: PolicyName, step: Step): Promise<void> {
    await this.#writers[policy](step);
  }

  readonly #writers: Record<PolicyName, (step: Step) => Promise<void>> = {
    lww: async ({ client, bucket, key, value, written }) => {
      const { result } = await this.#answer(written, (requestId, options) =>
        client.putEntry({ requestId, bucket, key, put: { value: valueOf(value) } }, options),
      );
      written.last.set(key, { value, revision: result?.revision ?? 0n });
    },
    // Knows what it wrote itself, and nothing else: everything of the other side is concurrent to it.
    vector: async ({ client, bucket, key, value, written }) => {
      const context = this.#contexts.get(`${written.side} ${key}`);
      const put = { value: valueOf(value), ...(context === undefined ? {} : { context }) };
      const { result } = await this.#answer(written, (requestId, options) =>
        client.putEntry({ requestId, bucket, key, put }, options),
      );
      if (result !== undefined) this.#contexts.set(`${written.side} ${key}`, result.context);
      written.last.set(key, { value, revision: result?.revision ?? 0n });
    },
    cas: async ({ client, bucket, key, value, written }) => {
      const entry = await this.#answer(undefined, (_, options) =>
        client.batchGetEntries({ bucket, keys: [key] }, options),
      );
      const expectedRevision = entry.entries[0]?.revision ?? 0n;
      const put = { value: valueOf(value), expectedRevision };
      try {
        const { result } = await this.#answer(written, (requestId, options) =>
          client.putEntry({ requestId, bucket, key, put }, options),
        );
        written.replaced.push(expectedRevision);
        written.last.set(key, { value, revision: result?.revision ?? 0n });
      } catch (error) {
        if (NexusError.from(error).reason !== "STATE_REVISION_MISMATCH") throw error;
        written.refused += 1;
      }
    },
    counter: async ({ client, bucket, key, written }) => {
      await this.#answer(written, (requestId, options) =>
        client.incrementEntry({ requestId, bucket, key, increment: { delta: 1n } }, options),
      );
    },
  };
  /** Says a call until it is answered. A cut leaves it open what became of the first try. */
  async #answer<T>(
    written: Written | undefined,
    call: (requestId: string, options: { timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    this.#calls += 1;
    const requestId = `${this.#run}-${this.#calls}`;
    for (;;) {
      try {
        const answer = await call(requestId, { timeoutMs: CALL_TIMEOUT_MS });
        if (written !== undefined) written.answered += 1;
        return answer;
      } catch (error) {
        const { kind, reason } = NexusError.from(error);
        if (!["unavailable", "deadline"].includes(kind) && reason !== "LOCK_NOT_AVAILABLE") {
          throw error;
        }
        if (written !== undefined) written.repeated += 1;
      }
      await sleep(AGAIN_MS);
    }
  }
}

function valueOf(value: string) {
  return { contentType: "text/plain", data: new TextEncoder().encode(value) };
}
