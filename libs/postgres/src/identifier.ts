/** Names of roles and schemas that go into SQL text, where parameters are not allowed. */
const IDENTIFIER = /^[a-z_][a-z0-9_]{0,62}$/;

/** Throws a TypeError unless the name is a plain lower-case SQL identifier, so that it can be written without quoting. */
export function assertIdentifier(name: string, what: string): void {
  if (!IDENTIFIER.test(name)) {
    throw new TypeError(`${what} must match ${IDENTIFIER.source}, got ${JSON.stringify(name)}`);
  }
}
