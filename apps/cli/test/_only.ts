import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImplementation } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";

/** A service of which nothing else is called. */
export function only<S extends DescService>(
  desc: S,
  methods: Partial<ServiceImplementation<S>>,
): ServiceImplementation<S> {
  const unused = () => {
    throw new NexusError({ kind: "unimplemented", reason: "UNIMPLEMENTED", message: "unused" });
  };
  const others = Object.fromEntries(desc.methods.map(({ localName }) => [localName, unused]));
  return { ...others, ...methods } as ServiceImplementation<S>;
}
