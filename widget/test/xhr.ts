/** As much of an `XMLHttpRequest` as uploads need, by `fetch`; it tells of progress at the end. */

class FetchRequest {
  readonly upload: { onprogress?: (event: { loaded: number; total: number }) => void } = {};
  onload = () => {};
  onerror = () => {};
  onabort = () => {};
  timeout = 0;
  status = 0;
  response = "";
  #url = "";
  #headers = new Headers();
  #aborted = new AbortController();

  open(_method: string, url: string): void {
    this.#url = url;
  }

  setRequestHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  abort(): void {
    this.#aborted.abort();
    this.onabort();
  }

  async send(body: Blob): Promise<void> {
    const { signal } = this.#aborted;
    try {
      const init = { method: "POST", headers: this.#headers, body, signal };
      const answer = await fetch(this.#url, init);
      this.response = await answer.text();
      this.status = answer.status;
      this.upload.onprogress?.({ loaded: body.size, total: body.size });
      this.onload();
    } catch {
      this.onerror();
    }
  }
}

export function setXmlHttpRequest(): void {
  Object.assign(globalThis, { XMLHttpRequest: FetchRequest });
}
