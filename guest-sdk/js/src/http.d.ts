/** An `http` or `https` address, taken apart. */
export interface Address {
  scheme: 'http' | 'https';
  /** The host, and the port if there is one. */
  authority: string;
  /** The path and the query. */
  path: string;
}

export interface Options {
  headers?: Record<string, string>;
  /** How long a connection, the first byte of the answer, or the next may take; 30,000 unless set. */
  timeoutMs?: number;
}

/** An answer. */
export interface Response {
  status: number;
  /** By names in lower case; the first of each name. */
  headers: Record<string, string | undefined>;
  /** At most its first 64 KiB. */
  body: Uint8Array;
  /** The start of the body as text, for an error. */
  excerpt(): string;
}

/** Takes an address apart. A sink that does so in `open` says what is wrong before the pipeline starts. */
export function parseUrl(url: string): Address;

/**
 * Sends a request and waits for the answer, whatever its status. A wrong address or header and a host that is not granted throw a
 * `Fatal`; where there is no answer, it is a `Retryable`.
 */
export function request(method: string, url: string, options?: Options & { body?: string | Uint8Array }): Response;
export function get(url: string, options?: Options): Response;
export function post(url: string, body: string | Uint8Array, options?: Options): Response;
export function put(url: string, body: string | Uint8Array, options?: Options): Response;
