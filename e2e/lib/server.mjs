// HTTP servers for test pages. One listener answers for two sites, http://127.0.0.1:PORT
// and http://localhost:PORT: cross-site to each other, both secure contexts.

import { once } from "node:events";
import { createServer } from "node:http";

/** Content types by file extension. */
export const contentTypes = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  mjs: "text/javascript; charset=utf-8",
  json: "application/json",
  wasm: "application/wasm",
};

/**
 * Serves answer(request, url), which returns { status?, headers?, body } or undefined for 404.
 * A body that is a function writes the response itself, as slowly as it likes.
 * It listens on 127.0.0.1 and, where there is IPv6, on ::1 with the same port, because
 * engines differ in which address "localhost" is.
 */
export async function serve(answer) {
  const handler = async (request, response) => {
    try {
      const result = await answer(request, new URL(request.url, `http://${request.headers.host}`));
      const { status = 200, headers = {}, body = "" } = result ?? { status: 404, body: "not found" };
      response.writeHead(status, { "cache-control": "no-store", ...headers });
      if (typeof body === "function") await body(response);
      else response.end(body);
    } catch (error) {
      response.writeHead(500).end(String(error.stack));
    }
  };
  const first = createServer(handler);
  first.listen(0, "127.0.0.1");
  await once(first, "listening");
  const { port } = first.address();
  const second = createServer(handler);
  const both = await new Promise((resolve) => {
    second.once("error", () => resolve([first]));
    second.listen(port, "::1", () => resolve([first, second]));
  });
  return {
    port,
    ip: `http://127.0.0.1:${port}`,
    localhost: `http://localhost:${port}`,
    async close() {
      for (const server of both) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}
