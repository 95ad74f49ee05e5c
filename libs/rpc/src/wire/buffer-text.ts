import { configureTextEncoding } from "@bufbuild/protobuf/wire";

/** Has protobuf-es write text with Buffer, whose pool spares the allocation that TextEncoder makes for each text: a quarter of the
 * time for the ids and names that messages are made of (36 characters, test box, Node 20, 2026-11). Text is read as before. */
export function useBufferText(): void {
  const lenient = new TextDecoder();
  const strict = new TextDecoder("utf-8", { fatal: true });
  configureTextEncoding({
    encodeUtf8: (text) => Buffer.from(text, "utf8"),
    decodeUtf8: (bytes, isStrict = false) => (isStrict ? strict : lenient).decode(bytes),
    checkUtf8(text) {
      try {
        encodeURIComponent(text);
        return true;
      } catch {
        // A lone surrogate: the only thing that this function throws for.
        return false;
      }
    },
  });
}
