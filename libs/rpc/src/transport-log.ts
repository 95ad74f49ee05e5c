import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";

/** Keeps grpc-js from printing to stderr what this library reports itself, such as a port that is taken.
 *
 * Who debugs the transport sets GRPC_VERBOSITY, and is left alone. */
export function quietTransport(): void {
  const { GRPC_VERBOSITY, GRPC_NODE_VERBOSITY } = process.env;
  if (GRPC_VERBOSITY === undefined && GRPC_NODE_VERBOSITY === undefined) {
    setLogVerbosity(logVerbosity.NONE);
  }
}
