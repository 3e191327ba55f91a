/** Ties work to the frames that the browser paints. */

/** However often the result is called, the work is done once, with the next frame. */
export function oncePerFrame(work: () => void, signal: AbortSignal): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (!signal.aborted) work();
    });
  };
}
