/** How much may wait in memory, and how much of that in the name of each namespace. */

/** What a namespace holds of a room. */
export class Share {
  readonly namespace: string;
  readonly #room: Room;
  messages = 0;
  bytes = 0;

  constructor(namespace: string, room: Room) {
    this.namespace = namespace;
    this.#room = room;
  }

  add(bytes: number): void {
    this.messages += 1;
    this.bytes += bytes;
    this.#room.messages += 1;
    this.#room.bytes += bytes;
  }

  /** A message's bytes are let go; it is still counted. */
  letGo(bytes: number): void {
    this.bytes -= bytes;
    this.#room.bytes -= bytes;
  }

  /** A message is over, whose bytes were let go. */
  remove(): void {
    this.messages -= 1;
    this.#room.messages -= 1;
    if (this.messages === 0) this.#room.left(this);
  }

  /** A message goes, with its bytes. */
  drop(bytes: number): void {
    this.letGo(bytes);
    this.remove();
  }
}

/** A bounded room that namespaces share without knowing of each other.
 *
 * A namespace may hold as much as it leaves free: one alone gets half, two a third each, and whoever comes next always finds as much as
 * each of them has.   Source: Choudhury and Hahne 1998, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches". */
export class Room {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #shares = new Map<string, Share>();
  #recent: Share;
  /** All shares together; changed by them only. */
  messages = 0;
  bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
    this.#recent = new Share("", this);
  }

  /** Namespaces that hold something, and the one that was asked for last. */
  get size(): number {
    return this.#shares.size;
  }

  /** Finds or makes a share, which is asked for again before it is added to. */
  shareOf(namespace: string): Share {
    const recent = this.#recent;
    if (recent.namespace === namespace) return recent;
    let share = this.#shares.get(namespace);
    if (share === undefined) {
      share = new Share(namespace, this);
      this.#shares.set(namespace, share);
    }
    this.#recent = share;
    if (recent.messages === 0) this.#shares.delete(recent.namespace);
    return share;
  }

  /** Says whether one more message fits, when its namespace may hold this part of what is free. */
  fits(namespace: string, bytes: number, part = 1): boolean {
    const share = this.shareOf(namespace);
    return (
      share.messages < (this.#messagesMax - this.messages) * part &&
      share.bytes + bytes <= (this.#bytesMax - this.bytes) * part
    );
  }

  /** A share holds nothing any more. */
  left(share: Share): void {
    if (share !== this.#recent) this.#shares.delete(share.namespace);
  }
}
