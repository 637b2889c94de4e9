/*
 * A small blocking HTTP client, for sinks whose plugin.toml says `http = true`. In WebAssembly it goes through wasi:http, to the hosts that
 * the pipeline file grants; in a native test through a plain socket, without TLS.
 *
 *     wm_response answer;
 *     wm_request request = {
 *         .method = "POST", .url = wm_text_of("http://127.0.0.1:8080/rows"),
 *         .headers = WM_ENTRIES({ wm_text_of("Content-Type"), wm_text_of("application/json") }),
 *         .body = wm_bytes_of(wm_rows_json(&call->input, 0, call->input.rows)),
 *     };
 *     if (!wm_send(&request, &answer)) return false;
 *     if (answer.status != 200) return wm_fatal("the server answered %d", answer.status);
 */
#ifndef WASMILL_HTTP_H
#define WASMILL_HTTP_H

#include <wasmill.h>

/* Only `url` is needed. */
typedef struct {
    const char *method;         /* "GET" unless given; "POST", "DELETE", WebDAV's "MOVE" */
    wm_text url;                /* of http:// or https:// */
    wm_entries headers;         /* the SDK adds content-length */
    wm_bytes body;
    wm_duration timeout;        /* for the connection, the first byte of the answer, and each next; 30 s unless given */
} wm_request;

/* An answer; it lives until the next request, or the call ends. */
typedef struct {
    uint16_t status;
    wm_entries headers;         /* their names in lower case */
    wm_bytes body;              /* at most its first 64 KiB */
} wm_response;

/* Sends it and waits for the answer; any status is one. False, with the error set: a fatal one if the address or a header is not valid or the
 * host is not granted, a retryable one if there was no answer. */
bool wm_send(const wm_request *request, wm_response *response);

/* Whether it is an address that wm_send takes, so that `open` can refuse a wrong one before the pipeline starts. */
bool wm_is_url(wm_text url);

/* The first header of that name, in lower case; NULL if there is none. */
const wm_text *wm_header(const wm_response *response, const char *name);
/* The start of the body as text, for an error: at most 200 characters, without the white space around it. */
wm_text wm_excerpt(const wm_response *response);

#endif
