/** Makes elements. Text always becomes text nodes; there is no way in for markup. */

type Attributes = Record<string, string>;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A button with a word or an icon on it; `label` names an icon for those who cannot see it. */
export function button(part: string, content: Node | string, label?: string): HTMLButtonElement {
  const node = element("button", { type: "button", part }, content);
  if (label !== undefined) node.setAttribute("aria-label", label);
  return node;
}

/** A line drawing on a 24 by 24 grid. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
