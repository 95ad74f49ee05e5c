import { setFlagsFromString } from "node:v8";

/** Has V8 make new objects young wherever they are made.
 *
 * By itself it notes where objects are made that outlive two small collections, and makes those that follow there old from the start. A
 * service under load holds for a while what it drops at once later: from then on all that its queues are emptied into is old, what is put
 * into them grows old with it, and the whole heap is collected for what small collections would have freed. V8 asks for the flag at each
 * of its decisions, so it may be set in a running process, before there is any load. */
export function leaveNewObjectsYoung(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}
