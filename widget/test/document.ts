/** As much of a document as the view needs to build nodes; what it cannot do, no view code does. */

class FakeText {
  constructor(readonly textContent: string) {}
}

export class FakeElement {
  readonly attributes = new Map<string, string>();
  readonly childNodes: (FakeElement | FakeText)[] = [];
  parent: FakeElement | undefined;

  constructor(readonly tag: string) {}

  get textContent(): string {
    return this.childNodes.map((child) => child.textContent).join("");
  }

  get lastChild(): FakeElement | FakeText | undefined {
    return this.childNodes.at(-1);
  }

  /** Itself and all elements within it. */
  get elements(): FakeElement[] {
    const inner = this.childNodes.filter((child) => child instanceof FakeElement);
    return [this, ...inner.flatMap((child) => child.elements)];
  }

  /** As it would be written in HTML, for comparison. */
  get html(): string {
    const attributes = [...this.attributes].map(([name, value]) => ` ${name}="${value}"`).join("");
    const inner = this.childNodes.map((node) =>
      node instanceof FakeElement ? node.html : node.textContent.replaceAll("<", "&lt;"),
    );
    return `<${this.tag}${attributes}>${inner.join("")}</${this.tag}>`;
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }

  append(...nodes: (FakeElement | FakeText | string)[]): void {
    for (const node of nodes) {
      const child = typeof node === "string" ? new FakeText(node) : node;
      this.childNodes.push(child);
      if (child instanceof FakeElement) child.parent = this;
    }
  }

  replaceChild(fresh: FakeElement, old: FakeElement): void {
    this.childNodes.splice(this.childNodes.indexOf(old), 1, fresh);
    fresh.parent = this;
  }

  remove(): void {
    const siblings = this.parent?.childNodes;
    siblings?.splice(siblings.indexOf(this), 1);
  }

  addEventListener(): void {}
}

/** Lets the view's code make its elements here. */
export function setDocument(): void {
  const createElement = (tag: string) => new FakeElement(tag);
  Object.assign(globalThis, { document: { createElement } });
}
