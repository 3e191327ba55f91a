/** The owner's web site: another origin than the relay, with the one script line on its page. */

import { listen, type Server } from "./server.ts";

export interface PageOptions {
  /** How often the script line is on the page. */
  readonly lines?: number;
  /** A style sheet that grabs whatever it can reach. */
  readonly style?: "plain" | "grabbing";
  /** Where the script comes from; the relay, unless something stands in between. */
  readonly relay?: string;
  /** The language the page says it is in. */
  readonly lang?: string;
  /** What stands in the script line, beside its address. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Off only for tools that have to be injected into the page. */
  readonly policy?: "strict" | "none";
}

const STYLES = {
  plain: `
    body { margin: 0 auto; max-width: 640px; padding: 48px 24px; font: 18px/1.6 Georgia, serif; }
    h1 { font-size: 34px; line-height: 1.2; letter-spacing: -0.02em; }
    @media (prefers-color-scheme: dark) { :root { background: #101216; color: #dfe3ea; } }
    a { color: #3566c8; }
    @media (prefers-color-scheme: dark) { a { color: #8fb4ff; } }`,
  grabbing: `
    :root { font-size: 62.5%; }
    * { font: italic 900 31px/3 monospace; letter-spacing: 7px; text-transform: uppercase;
        text-align: center; color: #0f0; cursor: wait; word-spacing: 9px; visibility: visible; }
    button, textarea, section, header, form, div, h2 { background: #f0f !important;
        border: 9px dotted !important; margin: 31px !important; padding: 31px !important; }
    .unseen, [part] { position: static !important; display: inline !important; }`,
};

export class Site {
  #server: Server;
  #relay: string;

  private constructor(server: Server, relay: string) {
    this.#server = server;
    this.#relay = relay;
  }

  static async start(relay: string): Promise<Site> {
    const server = await listen((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? "/", "http://site");
      const from = searchParams.get("relay") ?? "";
      const style = searchParams.get("style") === "grabbing" ? "grabbing" : "plain";
      if (pathname === "/page.css") {
        response.setHeader("Content-Type", "text/css");
        response.end(STYLES[style]);
        return;
      }
      if (pathname !== "/") {
        response.writeHead(204).end();
        return;
      }
      if (searchParams.get("policy") === "strict") {
        response.setHeader("Content-Security-Policy", policy(from));
      }
      response.setHeader("Content-Type", "text/html; charset=utf-8");
      response.end(page(from, searchParams, style));
    });
    return new Site(server, relay);
  }

  url({
    lines = 1,
    style = "plain",
    relay = this.#relay,
    policy = "strict",
    lang = "en",
    attributes = { "data-title": "Ask us" },
  }: PageOptions = {}) {
    const query = new URLSearchParams({ relay, lines: String(lines), style, policy, lang });
    const line = Object.entries(attributes).map(([name, value]) => `${name}="${value}"`);
    query.set("attributes", line.join(" "));
    return `${this.#server.address}/?${query}`;
  }

  async close(): Promise<void> {
    await this.#server.close();
  }
}

/** What the embed line needs and no more; the page's own style sheet is the page's own matter. */
function policy(relay: string): string {
  return [
    "default-src 'none'",
    `script-src ${relay}`,
    `connect-src ${relay}`,
    `img-src ${relay}`,
    "style-src 'self'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

function page(relay: string, query: URLSearchParams, style: string): string {
  const line = `<script src="${relay}/widget.js" ${query.get("attributes")} async></script>\n`;
  return `<!doctype html>
<html lang="${query.get("lang")}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The bakery</title>
<link rel="stylesheet" href="/page.css?style=${style}">
${line.repeat(Number(query.get("lines")))}</head>
<body>
<main>
<h1>Bread, baked at night</h1>
<p>We open at six. Rye on Tuesdays, <a href="#more">more of it</a> on Saturdays.</p>
<p id="more">Our ovens are older than the street, and they are lit every evening.</p>
<button type="button">Order</button>
</main>
</body>
</html>
`;
}
