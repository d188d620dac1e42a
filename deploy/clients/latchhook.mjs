// Enqueues raw events at a latchhook, over HTTP. Node 18 or newer, and nothing else.
//
//     const client = new Client("http://127.0.0.1:8080", "wa", process.env.LATCHHOOK_TOKEN);
//     await client.enqueue('{"object": "whatsapp_business_account"}');   // -> "5f0c…-17"
//     await client.enqueueBatch([body, body]);                            // -> ["5f0c…-18", "5f0c…-19"]
//
// Each call is sent under one Idempotency-Key, however often it has to be: what it brings is enqueued once.
// On the command line it enqueues each line of stdin as one body:
//
//     LATCHHOOK_TOKEN=… node latchhook.mjs http://127.0.0.1:8080 wa < bodies
//
// All lines are one batch: at most 10,000 of them and 8 MiB.

import { randomUUID } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

// What may be otherwise a moment later. Whatever else is refused stays refused.
const PASSING = new Set([408, 409, 429, 500, 502, 503, 504]);

/** Nothing is known to be enqueued. `key` is what the request was sent under: sent again under it, it is never doubled. */
export class NotEnqueued extends Error {
  constructor(message, key) {
    super(message);
    this.name = "NotEnqueued";
    this.key = key;
  }
}

/**
 * Some lines of a batch were refused; all others are enqueued. `results` has an id for each body that was enqueued and null
 * for each that was not; `errors` the refusals, each with `line` (from 1), `status` and `message`.
 */
export class LinesRefused extends Error {
  constructor(results) {
    const errors = results.flatMap((result) => (result.error ? [result.error] : []));
    super(errors.map((error) => `line ${error.line}: ${error.message}`).join("; "));
    this.name = "LinesRefused";
    this.results = results.map((result) => result.id ?? null);
    this.errors = errors;
  }
}

export class Client {
  #url;
  #token;
  #timeout;
  #patience;

  /** `timeout`: seconds for one try. `patience`: seconds after which there is no further try; 0: after the first. */
  constructor(url, source, token, { timeout = 10, patience = 60 } = {}) {
    this.#url = `${url.replace(/\/+$/, "")}/v1/sources/${encodeURIComponent(source)}/raw-events`;
    this.#token = token;
    this.#timeout = timeout;
    this.#patience = patience;
  }

  /** Enqueues one raw event: `body` is a string or bytes, taken as it is. Resolves to its id. */
  async enqueue(body, { headers = {}, key } = {}) {
    const results = await this.#send(body, { ...headers, "content-type": "application/octet-stream" }, key, 1);
    return results[0].id;
  }

  /**
   * Enqueues many: each is a string or bytes, taken as it is. Resolves to their ids, in order. At most 10,000 of them and
   * 8 MiB at a time.
   */
  async enqueueBatch(bodies, { key } = {}) {
    if (bodies.length === 0) return [];
    const lines = bodies.map((body) => JSON.stringify(line(body))).join("\n");
    const results = await this.#send(lines, { "content-type": "application/x-ndjson" }, key, bodies.length);
    if (results.some((result) => result.error)) throw new LinesRefused(results);
    return results.map((result) => result.id);
  }

  /** One request, until it is answered: under one key, so that it is enqueued once. */
  async #send(body, given, wanted, count) {
    const key = wanted ?? randomUUID();
    const headers = { ...given, authorization: `Bearer ${this.#token}`, "idempotency-key": `"${key}"` };
    const ends = performance.now() + this.#patience * 1000;
    for (let tries = 1; ; tries++) {
      const { status, answer, reason, wait = 0 } = await this.#try(body, headers);
      const results = resultsOf(answer, count);
      if (status === 202 && results) return results;
      if (status && status !== 202 && !PASSING.has(status)) {
        if (results) throw new LinesRefused(results);
        throw new NotEnqueued(`${status}: ${reason}`, key);
      }
      const pause = Math.max(wait, Math.random() * Math.min(10, 0.1 * 2 ** tries)) * 1000;
      if (performance.now() + pause >= ends) {
        throw new NotEnqueued(`given up after ${tries} tries: ${status ?? "no answer"}: ${reason}`, key);
      }
      await sleep(pause);
    }
  }

  /** Without a status where there was no answer, or none that could be read to its end. */
  async #try(body, headers) {
    let response, text;
    try {
      const signal = AbortSignal.timeout(this.#timeout * 1000);
      // A token goes to nobody but whom it was meant for.
      response = await fetch(this.#url, { method: "POST", headers, body, signal, redirect: "manual" });
      text = await response.text();
    } catch (error) {
      return { reason: error.cause?.message ?? error.message };
    }
    const answer = parsed(text);
    return { status: response.status, answer, reason: answer?.error ?? text, wait: waitOf(response) };
  }
}

/** The results of an answer that is a latchhook's to so many bodies; whatever else stands between may answer too. */
function resultsOf(answer, count) {
  const results = answer?.results;
  return Array.isArray(results) && results.length === count && results.every(isResult) ? results : undefined;
}

function isResult(result) {
  return typeof result?.id === "string" || ("line" in Object(result?.error) && "message" in result.error);
}

/** The seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3). */
function waitOf(response) {
  const given = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(given) ? Number(given) : (Date.parse(given) - Date.now()) / 1000;
  return Math.max(0, seconds || 0);
}

function line(body) {
  if (typeof body === "string") return { body };
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { body_base64: Buffer.from(body).toString("base64") };
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The lines of stdin as bytes: a body need not be text. */
function linesOf(bytes) {
  const lines = [];
  let from = 0;
  for (let to; (to = bytes.indexOf(10, from)) >= 0; from = to + 1) lines.push(bytes.subarray(from, to));
  if (from < bytes.length) lines.push(bytes.subarray(from));
  return lines;
}

async function main() {
  const [url, source] = process.argv.slice(2);
  const client = new Client(url, source, process.env.LATCHHOOK_TOKEN);
  try {
    for (const id of await client.enqueueBatch(linesOf(readFileSync(0)))) console.log(id);
  } catch (error) {
    if (!(error instanceof NotEnqueued || error instanceof LinesRefused)) throw error;
    for (const id of error.results ?? []) console.log(id ?? "-");
    console.error(`latchhook: ${error.message}`);
    process.exitCode = 1;
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
