// What a browser has and Node has not, as far as the samples ask for it: XMLHttpRequest, over fetch, and localStorage.
// console.log writes objects as JSON. Every answer goes into the file `answers` and every item stored into `stored`, a
// line of JSON each, for the test to read.
import { appendFileSync } from 'node:fs';

const note = (file, what) => appendFileSync(file, JSON.stringify(what) + '\n');

const nodesFetch = globalThis.fetch;
globalThis.fetch = async (url, options) => {
  const response = await nodesFetch(url, options);
  const body = await response.clone().text();
  note('answers', { status: response.status, cookies: response.headers.getSetCookie(), body });
  return response;
};

globalThis.XMLHttpRequest = class extends EventTarget {
  DONE = 4;
  readyState = 0;
  responseText = '';
  withCredentials = false;
  #method;
  #url;
  #headers = {};

  open(method, url) {
    this.#method = method;
    this.#url = url;
    this.#change(1);
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  async send(body) {
    const response = await fetch(this.#url, { method: this.#method, headers: this.#headers, body });
    this.#change(2);
    this.responseText = await response.text();
    this.#change(4);
  }

  #change(state) {
    this.readyState = state;
    this.dispatchEvent(new Event('readystatechange'));
  }
};

const localStorage = { setItem: (key, value) => note('stored', [key, String(value)]) };
Object.defineProperty(globalThis, 'localStorage', { value: localStorage, configurable: true });

console.log = (...values) => {
  const words = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  process.stdout.write(words.join(' ') + '\n');
};
