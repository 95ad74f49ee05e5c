/** The declarations of @connectrpc/connect name a DOM type that Node's own types leave out. */
declare global {
  type HeadersInit = NonNullable<ConstructorParameters<typeof Headers>[0]>;
}
export {};
