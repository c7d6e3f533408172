// What a run streams, as it comes.

import { shown } from "./row.js";

const KEPT = 200;

export class Lines {
  #list;
  #next = new Map();

  constructor(list) {
    this.#list = list;
  }

  /** Add a value of a stream, unless it is already there: a new connection begins with the first. */
  add({ key, offset, value }) {
    if (offset < (this.#next.get(key) ?? 0)) return;
    this.#next.set(key, offset + 1);
    const list = this.#list;
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 5;
    list.append(Object.assign(document.createElement("li"), { textContent: shown(value) }));
    if (list.childElementCount > KEPT) list.firstElementChild.remove();
    list.hidden = false;
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}
