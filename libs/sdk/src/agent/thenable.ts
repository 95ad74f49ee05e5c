/** Says whether a handler has to be waited for. Most have nothing to wait for, and promises for each of a frame's hundreds of items cost more
 * than the items. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  if (typeof value !== "object" && typeof value !== "function") return false;
  return value !== null && "then" in value && typeof value.then === "function";
}
