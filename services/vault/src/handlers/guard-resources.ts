import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { CallContext, ServiceImplementation } from "@nexus/rpc";
import { requirePrincipal, resourceFieldOf, scopeOf } from "@nexus/rpc";
import type { PolicyBook } from "../domain/access/policy-book.ts";
import { accessDenied } from "../domain/errors.ts";

/** A method of any kind, as far as guarding goes. */
type Handler = (request: Readonly<Record<string, unknown>>, ctx: CallContext) => unknown;

/** Says whether the caller may do what the method does to a resource. For lists, item by item. */
export function mayAccess(book: PolicyBook, ctx: CallContext, resource: string): boolean {
  return book.decide(requirePrincipal(ctx), { action: scopeOf(ctx.method), resource }).allowed;
}

/** Asks the caller's policies before anything is looked up, so that a refusal tells nothing of what exists.
 * Errors: forbidden/ACCESS_DENIED. */
export function assertAccess(book: PolicyBook, ctx: CallContext, resource: string): void {
  if (!mayAccess(book, ctx, resource)) throw accessDenied(scopeOf(ctx.method));
}

/** Puts the question before every unary method whose contract names the field of its resource. Methods that stream or
 * list ask by themselves: their contract says `start.<field>` or `*`.
 *
 * Errors: a plain Error at the start when a contract names a field that its request does not have. */
export function guardResources<S extends DescService>(
  service: S,
  handlers: ServiceImplementation<S>,
  book: PolicyBook,
): ServiceImplementation<S> {
  const guarded = { ...handlers } as unknown as Record<string, Handler>;
  for (const method of service.methods) {
    const field = fieldOf(method);
    const handler = guarded[method.localName];
    if (field === undefined || handler === undefined) continue;
    guarded[method.localName] = (request, ctx) => {
      assertAccess(book, ctx, String(request[field]));
      return handler(request, ctx);
    };
  }
  return guarded as unknown as ServiceImplementation<S>;
}

function fieldOf(method: DescMethod): string | undefined {
  const name = resourceFieldOf(method);
  if (name === "" || name === "*" || method.methodKind !== "unary") return undefined;
  const field = method.input.fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`${method.input.typeName} has no field ${name}.`);
  return field.localName;
}
