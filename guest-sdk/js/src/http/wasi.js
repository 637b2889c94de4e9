// Requests through `wasi:http`. Only there in a sink whose plugin.toml says `http = true`.

import { handle } from 'wasi:http/outgoing-handler@0.2.12';
import { Fields, OutgoingBody, OutgoingRequest, RequestOptions } from 'wasi:http/types@0.2.12';

import { Fatal, Retryable } from '../errors.js';

/** How much of an answer's body is kept, in bytes: enough for an error's text. */
const MAX_BODY = 64 << 10;
/** The most that `blockingWriteAndFlush` takes at once. */
const WRITE = 4096;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'];
/** What ComponentizeJS takes for it in an engine that has none. */
const DISPOSE = Symbol.dispose ?? Symbol.for('dispose');

export function send(request) {
  const { authority } = request;
  const outgoing = outgoingOf(request);
  const body = outgoing.body();
  const future = orElse(() => handle(outgoing, optionsOf(request.timeoutMs)), (code) => noAnswer(authority, code));
  // A peer may answer and close before it has read everything: then the answer says more than the failed write.
  const broken = write(body, request.body);
  return using(future, () => {
    using(future.subscribe(), (answered) => answered.block());
    const answer = future.get()?.val;
    if (answer?.tag !== 'ok') throw noAnswer(authority, answer?.val);
    return using(answer.val, (response) => read(response, authority, broken));
  });
}

function outgoingOf({ method, scheme, authority, path, headers, body }) {
  const encoder = new TextEncoder();
  const fields = Object.entries({ ...headers, 'content-length': body.length }).map(([name, value]) => [
    name.toLowerCase(),
    encoder.encode(String(value)),
  ]);
  const invalid = (error) => new Fatal(`a header is not valid: ${error?.tag}`);
  const outgoing = new OutgoingRequest(orElse(() => Fields.fromList(fields), invalid));
  const set = () => {
    outgoing.setMethod(METHODS.includes(method) ? { tag: method.toLowerCase() } : { tag: 'other', val: method });
    outgoing.setScheme({ tag: scheme.toUpperCase() });
    outgoing.setAuthority(authority);
    outgoing.setPathWithQuery(path);
  };
  orElse(set, () => new Fatal(`\`${method} ${authority}${path}\` is no request`));
  return outgoing;
}

function optionsOf(timeoutMs) {
  const nanoseconds = BigInt(Math.ceil(timeoutMs)) * 1_000_000n;
  const options = new RequestOptions();
  options.setConnectTimeout(nanoseconds);
  options.setFirstByteTimeout(nanoseconds);
  options.setBetweenBytesTimeout(nanoseconds);
  return options;
}

/** What kept the peer from getting all of it. */
function write(body, content) {
  try {
    using(body.write(), (stream) => {
      for (let at = 0; at < content.length; at += WRITE) stream.blockingWriteAndFlush(content.subarray(at, at + WRITE));
    });
    OutgoingBody.finish(body, undefined);
  } catch (error) {
    return error.payload?.tag ?? String(error);
  }
}

function read(response, authority, broken) {
  const status = response.status();
  if (broken !== undefined && status < 300) throw new Retryable(`the request to ${authority} broke off: ${broken}`);
  const decoder = new TextDecoder();
  const headers = using(response.headers(), (fields) => fields.entries().map(([name, value]) => [name, decoder.decode(value)]));
  const body = using(response.consume(), (body) => using(body.stream(), (stream) => start(stream, authority)));
  return { status, headers, body };
}

/** The first bytes of a body. */
function start(stream, authority) {
  const kept = new Uint8Array(MAX_BODY);
  let length = 0;
  try {
    while (length < MAX_BODY) {
      const piece = stream.blockingRead(BigInt(MAX_BODY - length));
      kept.set(piece, length);
      length += piece.length;
    }
  } catch (error) {
    if (error.payload?.tag !== 'closed') throw new Retryable(`the answer from ${authority} broke off`);
  }
  return kept.subarray(0, length);
}

function noAnswer(authority, code) {
  if (code?.tag === 'HTTP-request-denied') return new Fatal(`the pipeline file does not grant requests to ${authority}`);
  if (code?.tag === 'HTTP-request-URI-invalid') return new Fatal(`\`${authority}\` is not a host`);
  const why = code ? `: ${code.tag}${code.val === undefined ? '' : ` ${JSON.stringify(code.val)}`}` : '';
  return new Retryable(`no answer from ${authority}${why}`);
}

/** What a call gives, or what its error means. */
function orElse(call, meaning) {
  try {
    return call();
  } catch (error) {
    throw meaning(error.payload);
  }
}

/** Works with a resource of the host's and gives it back at once: the host does not wait for a garbage collector. */
function using(resource, work) {
  try {
    return work(resource);
  } finally {
    resource[DISPOSE]();
  }
}
