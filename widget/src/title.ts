/** Puts the number of unread replies before the page's title, and takes it away again. */

export class PageTitle {
  #mark = "";

  set unread(count: number) {
    // The page may have changed its title meanwhile, and with it lost the mark.
    const own = document.title.startsWith(this.#mark)
      ? document.title.slice(this.#mark.length)
      : document.title;
    const mark = count > 0 ? `(${count}) ` : "";
    if (mark !== this.#mark) document.title = mark + own;
    this.#mark = mark;
  }
}
