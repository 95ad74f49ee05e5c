/** Waits until a service says on its ops port that it is ready. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

/** Asking costs a millisecond of a start that has none to spare, and fetch() would load a third of a second of code to do it. */
const POLL_MS = 100;
const ASK_TIMEOUT_MS = 1_000;
const HTTP_OK = 200;

/** Resolves when `<opsUrl>/ready` answers 200.
 *
 * Errors: an Error with the last answer when that takes longer than timeoutMs. */
export async function waitUntilReady(
  opsUrl: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask(`${opsUrl}/ready`);
    if (answer === "ready" || signal?.aborted === true) return;
    if (performance.now() > giveUpAt) {
      throw new Error(`not ready within ${timeoutMs / 1000} s: ${answer}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function ask(url: string): Promise<string> {
  try {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    const [response] = (await once(get(url, { signal }), "response")) as [IncomingMessage];
    const answer = await text(response);
    return response.statusCode === HTTP_OK ? "ready" : answer.trim();
  } catch (error) {
    // Not listening yet; the caller bounds how long we ask.
    return error instanceof Error ? error.message : String(error);
  }
}
