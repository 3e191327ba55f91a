/** Pictures, drawn and not loaded: so a page's policy on images, which knows no blobs, is kept. */

/** The longer side of what is kept of a picture. */
const MAX_PIXELS = 480;

/** SVG is a document. */
export function isPicture(type: string): boolean {
  return /^image\/(png|jpeg|gif|webp)$/.test(type);
}

/** Throws where the bytes are no picture. */
export async function draw(canvas: HTMLCanvasElement, bytes: Blob): Promise<void> {
  const bitmap = await createImageBitmap(bytes);
  const scale = Math.min(1, MAX_PIXELS / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.ceil(bitmap.width * scale);
  canvas.height = Math.ceil(bitmap.height * scale);
  const context = canvas.getContext("2d");
  if (context) context.imageSmoothingQuality = "high";
  context?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}
