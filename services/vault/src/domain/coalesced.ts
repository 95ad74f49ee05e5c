/** Turns an operation that reads the latest state into one that never runs twice at once.
 *
 * Each caller is promised a run that began after its call: the running one may have read before the caller's commit.
 * So a call during a run waits for the next one, which all such callers share. */
export function coalesced(read: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let queued: Promise<void> | undefined;

  function start(): Promise<void> {
    running = read().finally(() => {
      running = undefined;
    });
    return running;
  }

  return () => {
    if (queued !== undefined) return queued;
    if (running === undefined) return start();
    // The failure of the running read is its own callers' to hear.
    queued = running
      .catch(() => undefined)
      .then(() => {
        queued = undefined;
        return start();
      });
    return queued;
  };
}
