import type { Client } from "@grpc/grpc-js";

/** A connection for one stream. */
export interface StreamPlace {
  readonly transport: Client;
  /** Gives the place to another stream. Safe to call twice. */
  leave(): void;
}

/** How connections are filled. */
export interface StreamPlacesOptions {
  /** Streams of one connection. */
  readonly max: number;
  readonly open: () => Client;
}

interface Connection {
  readonly transport: Client;
  streams: number;
}

/** Gives each stream a place at the first connection that has one, and opens another when none has. */
export class StreamPlaces {
  readonly #connections: Connection[];
  readonly #max: number;
  readonly #open: () => Client;
  readonly #further: Client[] = [];
  #isClosed = false;

  constructor(transports: readonly Client[], options: StreamPlacesOptions) {
    this.#connections = transports.map((transport) => ({ transport, streams: 0 }));
    this.#max = options.max;
    this.#open = options.open;
  }

  /** Errors: an Error once they are closed. */
  take(): StreamPlace {
    if (this.#isClosed) throw new Error("the channel is closed");
    const connection = this.#connections.find(({ streams }) => streams < this.#max) ?? this.#add();
    connection.streams += 1;
    let hasLeft = false;
    return {
      transport: connection.transport,
      leave: () => {
        if (!hasLeft) connection.streams -= 1;
        hasLeft = true;
      },
    };
  }

  /** The connection with the fewest streams, for calls: a first one that streams have filled may have little room left. */
  get emptiest(): Client {
    return this.#connections.reduce((a, b) => (b.streams < a.streams ? b : a)).transport;
  }

  /** Closes what it opened. */
  close(): void {
    this.#isClosed = true;
    for (const transport of this.#further) transport.close();
  }

  #add(): Connection {
    const connection: Connection = { transport: this.#open(), streams: 0 };
    this.#further.push(connection.transport);
    this.#connections.push(connection);
    return connection;
  }
}
