/** Where an agent can be reached, as every replica can say. */
export interface Route {
  readonly agentId: string;
  readonly routerId: string;
  readonly epoch: bigint;
  readonly attached: boolean;
}

/** Asks for a page of routes. */
export interface RouteQuery {
  readonly namespace: string;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page of routes, by agent id. */
export interface RoutePage {
  readonly routes: readonly Route[];
  readonly nextPageToken: string;
}

/** Where routes are stored. Errors: invalid/PAGE_TOKEN_INVALID. */
export interface RouteStore {
  list(query: RouteQuery): Promise<RoutePage>;
}
