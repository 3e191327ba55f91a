/** A small HTTP server on a free port. */

import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

export interface Server {
  /** Without a slash at its end. */
  readonly address: string;
  close(): Promise<void>;
}

export async function listen(listener: RequestListener): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
