/** Waits until a service says on its ops port that it is ready. */

/** Asking costs a millisecond of a start that has none to spare. */
const POLL_MS = 100;
const ASK_TIMEOUT_MS = 1_000;

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
    const response = await fetch(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    const text = await response.text();
    return response.ok ? "ready" : text.trim();
  } catch (error) {
    // Not listening yet; the caller bounds how long we ask.
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return cause instanceof Error ? cause.message : String(cause);
  }
}
