/** Keeps a panel that fills the screen above the keyboard on it. */

/** Tells the style how much of the page's window is seen; a page that was zoomed into is let be. */
export function followKeyboard(panel: HTMLElement, signal: AbortSignal): void {
  const seen = window.visualViewport;
  if (!seen) return;
  const measure = () => {
    const isZoomed = seen.scale > 1;
    set("--seen-height", isZoomed ? "" : `${seen.height}px`);
    set("--seen-top", isZoomed ? "" : `${seen.offsetTop}px`);
  };
  const set = (name: string, value: string) => panel.style.setProperty(name, value);
  seen.addEventListener("resize", measure, { signal });
  seen.addEventListener("scroll", measure, { signal });
}
