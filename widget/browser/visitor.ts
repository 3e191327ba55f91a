/** A visitor at a page: does what a person does and reads what a person sees. */

import assert from "node:assert/strict";
import type { BrowserContext, Locator, Page, Request } from "playwright-core";
import { until } from "./until.ts";

export class Visitor {
  readonly page: Page;
  readonly widget: Locator;
  readonly bubble: Locator;
  readonly panel: Locator;
  readonly input: Locator;
  /** The three dots that stand for a reply to come. */
  readonly waiting: Locator;
  /** What the agent is at, in words. */
  readonly progress: Locator;
  /** The line that says that nobody is there. */
  readonly away: Locator;
  readonly stop: Locator;
  /** What the browser complained about: errors, warnings, violations of the page's policy. */
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    this.widget = page.locator("postern-chat");
    this.bubble = this.widget.locator("[part=bubble]");
    this.panel = this.widget.getByRole("dialog", { name: "Ask us" });
    this.input = this.widget.getByRole("textbox", { name: "Write a message" });
    this.waiting = this.widget.locator("[part=dots]");
    this.progress = this.widget.locator("[part=progress]");
    this.away = this.widget.getByRole("status");
    this.stop = this.widget.getByRole("button", { name: "Stop" });
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") {
        this.complaints.push(message.text());
      }
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("dialog", async (dialog) => {
      this.complaints.push(`A dialog opened: ${dialog.message()}`);
      await dialog.dismiss();
    });
  }

  static async arrive(context: BrowserContext, url: string): Promise<Visitor> {
    const visitor = new Visitor(await context.newPage());
    await visitor.page.goto(url);
    return visitor;
  }

  /** Opens the panel, unless it has stayed open. */
  async open(): Promise<void> {
    await this.bubble.waitFor({ state: "attached" });
    if (!(await this.panel.isVisible())) await this.bubble.click();
    await this.panel.waitFor();
  }

  async close(): Promise<void> {
    await this.widget.getByRole("button", { name: "Close chat" }).click();
    await this.panel.waitFor({ state: "hidden" });
  }

  async send(text: string): Promise<void> {
    await this.input.fill(text);
    await this.input.press("Enter");
  }

  /** Sends where no message gets through; resolves once the first attempt has failed. */
  async sendInVain(text: string): Promise<void> {
    const isPost = (request: Request) => request.method() === "POST";
    const failed = this.page.waitForEvent("requestfailed", isPost);
    await this.send(text);
    await failed;
  }

  /** Resolves once this, and nothing else, is the conversation; see `shown`. */
  async sees(...expected: string[]): Promise<void> {
    await until(() => this.shown(), expected);
  }

  /** Resolves once the bubble is named like this and has, or has not, the dot on it. */
  async seesBubble(name: string, { dot }: { dot: boolean }): Promise<void> {
    await this.widget.getByRole("button", { name, exact: true }).waitFor();
    const scale = () =>
      this.bubble.evaluate((bubble) => {
        const { transform } = getComputedStyle(bubble, "::after");
        return transform === "none" ? 1 : new DOMMatrix(transform).a;
      });
    await until(scale, dot ? 1 : 0);
  }

  /** The conversation, a line for each message, with what is seen of its state in brackets. */
  async shown(): Promise<string[]> {
    return this.widget.locator("[part~=message]").evaluateAll((messages) =>
      messages.map((message) => {
        const part = (name: string) => message.querySelector<HTMLElement>(name);
        const text = part("[part=text]")?.innerText;
        const line = `${part(".unseen")?.innerText}${text && ` ${text}`}`;
        const state = part("[part=state]");
        return state?.checkVisibility() ? `${line} [${state.innerText}]` : line;
      }),
    );
  }

  /** The browser says by itself that a request failed; where that was staged, it is no complaint. */
  expectComplaint(pattern: RegExp): void {
    const others = this.complaints.filter((complaint) => !pattern.test(complaint));
    assert.notEqual(others.length, this.complaints.length, `No complaint matches ${pattern}.`);
    this.complaints.splice(0, Infinity, ...others);
  }
}
