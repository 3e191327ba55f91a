/** Sends a body and tells how far it has come, which `fetch` cannot. */

/** How long a transfer may stand still, in milliseconds, before it is given up. */
const STALL_MS = 60_000;

/** `onProgress` is told how much has been sent, from 0 to 1. */
export function sendBytes(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Blob,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const startedAt = performance.now();
    const extend = () => {
      request.timeout = performance.now() - startedAt + STALL_MS;
    };
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => {
      extend();
      onProgress(loaded / total);
    };
    request.onload = () => resolve(new Response(request.response, { status: request.status }));
    request.onerror = request.ontimeout = request.onabort = reject;
    signal.addEventListener("abort", () => request.abort());
    extend();
    request.send(body);
  });
}
