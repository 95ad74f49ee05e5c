import { isKeyChanged } from "./keys/rotation.ts";
import type { Mutations, RequestKey } from "./ports.ts";

/** Somebody else's rotation may come in between, of a key or of the namespace key above it. */
const ATTEMPTS = 5;

/** Does work that is prepared before its transaction, anew when what it was prepared for has changed by then; a retry of
 * a request that was answered prepares nothing. Errors: those of work; conflict/KEY_CHANGED after five attempts. */
export async function onceCurrent<T>(
  mutations: Mutations,
  request: RequestKey,
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const earlier = await mutations.replay<T>(request);
    if (earlier !== undefined) return earlier.value;
    try {
      return await work();
    } catch (error) {
      if (!isKeyChanged(error) || attempt === ATTEMPTS) throw error;
    }
  }
}
