/** What a screen reader says of the widget by itself, by the rules of ARIA's live regions. */

import type { Page } from "playwright-core";

export class Reader {
  #page: Page;

  private constructor(page: Page) {
    this.#page = page;
  }

  /** Listens from now on, until the page is left. */
  static async listen(page: Page): Promise<Reader> {
    await page.evaluate(() => {
      const said: string[] = [];
      Object.assign(window, { said });
      const root = document.querySelector("postern-chat")?.shadowRoot;
      if (!root) throw new Error("There is no widget.");
      const options = { childList: true, characterData: true, subtree: true };
      new MutationObserver((records) => {
        said.push(...new Set(records.flatMap(news).map(words)));
      }).observe(root, options);

      /** The elements to be read out: where a region is atomic, the region instead of its news. */
      function news({ type, target, addedNodes }: MutationRecord): HTMLElement[] {
        const nodes = type === "characterData" ? [target] : [...addedNodes];
        const elements = nodes.map((node) =>
          node instanceof HTMLElement ? node : node.parentElement,
        );
        return elements.flatMap((element) => {
          if (!element || !isLive(element)) return [];
          return element.closest<HTMLElement>("[aria-atomic=true], [role=status]") ?? element;
        });
      }

      /** Lines of text, however far apart they are shown. */
      function words(element: HTMLElement): string {
        return element.innerText.trim().replaceAll(/\n+/g, "\n");
      }

      function isLive(element: HTMLElement): boolean {
        if (!element.checkVisibility({ visibilityProperty: true })) return false;
        if (element.closest("[aria-hidden=true], [aria-busy=true]")) return false;
        const region = element.closest("[aria-live], [role=log], [role=status]");
        return region !== null && region.getAttribute("aria-live") !== "off";
      }
    });
    return new Reader(page);
  }

  /** All that was said so far. */
  said(): Promise<string[]> {
    return this.#page.evaluate(() =>
      (window as unknown as { said: string[] }).said.filter(Boolean),
    );
  }
}
