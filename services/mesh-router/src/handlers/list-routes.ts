import type { MessagingService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { MailDesk } from "../domain/mail/mail-desk.ts";
import type { RouteStore } from "../domain/route.ts";
import type { SessionDirectory } from "../domain/session/session-directory.ts";
import type { TopicBook } from "../domain/topic/topic-book.ts";

const PAGE_SIZE_DEFAULT = 100;

/** What the list needs. */
export interface RouteDeps {
  readonly routes: RouteStore;
  readonly directory: SessionDirectory;
  readonly topics: TopicBook;
  readonly desk: Pick<MailDesk, "mailOf">;
}

/** Serves MessagingService.ListRoutes. */
export function createListRoutes({
  routes,
  directory,
  topics,
  desk,
}: RouteDeps): MethodImplementation<typeof MessagingService.method.listRoutes> {
  return async ({ page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const found = await routes.list({
      namespace,
      pageSize: page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize,
      pageToken: page?.pageToken ?? "",
    });
    return {
      routes: found.routes.map((route) => {
        const session = directory.find(namespace, route.agentId);
        const patterns = topics.of(namespace, route.agentId).map(({ pattern }) => pattern);
        if (session?.epoch !== route.epoch) return { ...route, subscriptions: patterns };
        return {
          ...route,
          attached: session.attached,
          credit: session.credit,
          waiting: session.inbox.size + session.delivered.size,
          mail: desk.mailOf(session),
          subscriptions: patterns,
        };
      }),
      page: { nextPageToken: found.nextPageToken },
    };
  };
}
