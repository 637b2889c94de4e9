/* Requests, but for what carries them. */
#include "http.h"
#include "sdk.h"

#define TIMEOUT_MS 30000
#define EXCERPT 200             /* characters */

/* Takes a URL apart; false if it is none. */
static bool take_apart(wm_text url, wm_outgoing *request)
{
    const char *end = url.data + url.length, *at = NULL;
    static const char *const schemes[] = { "http://", "https://" };
    for (int secure = 0; secure <= 1; secure++) {
        size_t length = strlen(schemes[secure]);
        if (url.length < length || memcmp(url.data, schemes[secure], length) != 0) continue;
        request->secure = secure;
        at = url.data + length;
    }
    if (at == NULL) return false;
    const char *authority = at;
    while (at < end && strchr("/?#@ ", *at) == NULL) at++;
    request->authority = (wm_text){ authority, (size_t)(at - authority) };
    if (at == authority || *authority == ':' || (at < end && strchr("@ ", *at) != NULL)) return false;
    const char *path = at;
    while (at < end && *at != '#' && *at != ' ') at++;
    request->path = (wm_text){ path, (size_t)(at - path) };
    if (request->path.length == 0 || *path != '/') request->path = wm_format("/%.*s", WM_ARG(request->path));
    return at == end || *at == '#';
}

bool wm_is_url(wm_text url)
{
    wm_outgoing request;
    return take_apart(url, &request);
}

static wm_text lower(wm_text name)
{
    char *text = wm_copy(name.data, name.length);
    for (size_t at = 0; at < name.length; at++) if (text[at] >= 'A' && text[at] <= 'Z') text[at] |= 0x20;
    return (wm_text){ text, name.length };
}

/* The bytes of the character that begins here, or, if it is not whole, those that could begin one. */
static size_t take_character(const char *from, size_t left, bool *whole)
{
    const uint8_t *bytes = (const uint8_t *)from;
    uint8_t lead = bytes[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0, seen = 1;
    uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (; seen < length && seen < left && bytes[seen] >= least && bytes[seen] <= most; seen++) least = 0x80, most = 0xbf;
    *whole = seen == length;
    return seen;
}

/* What a peer sent, with U+FFFD for what is not UTF-8. */
static wm_text as_text(const char *from, size_t length)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t broken = 0;
    bool whole;
    for (size_t at = 0; at < length; broken += !whole) at += take_character(from + at, length - at, &whole);
    if (broken == 0) return (wm_text){ from, length };
    char *text = wm_take(length + broken * strlen(replacement)), *to = text;
    for (size_t at = 0; at < length;) {
        size_t bytes = take_character(from + at, length - at, &whole), written = whole ? bytes : strlen(replacement);
        to = (char *)memcpy(to, whole ? from + at : replacement, written) + written;
        at += bytes;
    }
    return (wm_text){ text, (size_t)(to - text) };
}

bool wm_no_answer(const wm_outgoing *request, wm_text why)
{
    return wm_retryable(0, "no answer from %.*s: %.*s", WM_ARG(request->authority), WM_ARG(why));
}

static bool exchange(const wm_request *request, wm_response *response)
{
    wm_entry *headers = wm_take((request->headers.count + 1) * sizeof *headers);
    wm_outgoing outgoing = {
        .method = request->method == NULL ? "GET" : request->method, .body = request->body,
        .headers = { headers, request->headers.count + 1 }, .timeout_ms = request->timeout.ms > 0 ? request->timeout.ms : TIMEOUT_MS,
    };
    if (!take_apart(request->url, &outgoing)) return wm_fatal("`%.*s` is not an address as https://example.com/path", WM_ARG(request->url));
    for (size_t at = 0; at < request->headers.count; at++) {
        headers[at] = (wm_entry){ lower(request->headers.entries[at].name), request->headers.entries[at].value };
    }
    headers[request->headers.count] = (wm_entry){ wm_text_of("content-length"), wm_format("%zu", request->body.length) };
    if (!wm_host_send(&outgoing, response)) return false;
    wm_entry *answered = wm_take(response->headers.count * sizeof *answered);
    for (size_t at = 0; at < response->headers.count; at++) {
        const wm_entry *header = &response->headers.entries[at];
        answered[at] = (wm_entry){ lower(header->name), as_text(header->value.data, header->value.length) };
    }
    response->headers.entries = answered;
    return true;
}

bool wm_send(const wm_request *request, wm_response *response)
{
    wm_begin_request();
    return wm_end_request(exchange(request, response));
}

const wm_text *wm_header(const wm_response *response, const char *name)
{
    for (size_t at = 0; at < response->headers.count; at++) {
        if (wm_text_equal(response->headers.entries[at].name, wm_text_of(name))) return &response->headers.entries[at].value;
    }
    return NULL;
}

wm_text wm_excerpt(const wm_response *response)
{
    static const char space[] = " \t\r\n";
    wm_text text = as_text((const char *)response->body.data, response->body.length);
    while (text.length > 0 && strchr(space, text.data[0]) != NULL) text = (wm_text){ text.data + 1, text.length - 1 };
    while (text.length > 0 && strchr(space, text.data[text.length - 1]) != NULL) text.length--;
    return wm_first_characters(text, EXCERPT);
}
