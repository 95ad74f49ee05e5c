/** A topic whose messages have one shape, for the compiler. */
export interface Topic<T> {
  readonly name: string;
  /** Never set: it only carries the type. */
  readonly bodyType?: T;
}

/** Names a topic once, with the type of its bodies, for those who publish and those who subscribe.
 *
 * @example
 * const orderCreated = defineTopic<{ orderId: string }>("orders.created");
 * await ctx.publish(orderCreated, { orderId: "42" });
 */
export function defineTopic<T>(name: string): Topic<T> {
  return { name };
}

/** Says whether a topic fits a pattern: `*` fits one word, a last `>` one or more. */
export function fitsPattern(pattern: string, topic: string): boolean {
  const words = topic.split(".");
  const wanted = pattern.split(".");
  for (const [at, word] of wanted.entries()) {
    if (word === ">") return words.length > at;
    if (words[at] === undefined || (word !== "*" && word !== words[at])) return false;
  }
  return words.length === wanted.length;
}
