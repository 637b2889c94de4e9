/* Between requests as plugins write them and what carries them: worlds/http_sink.c, and in a native test testing/socket.c. */
#ifndef WASMILL_SRC_HTTP_H
#define WASMILL_SRC_HTTP_H

#include <wasmill/http.h>

/* A request with all its parts. The names of its headers are in lower case, content-length is among them. */
typedef struct {
    const char *method;
    bool secure;
    wm_text authority, path;
    wm_entries headers;
    wm_bytes body;
    int64_t timeout_ms;
} wm_outgoing;

#define WM_MOST_BODY ((size_t)64 << 10)     /* of an answer that is kept: enough for an error's text */

/* False after an error. The names of the answer's headers may be in any case, and their values any bytes. */
bool wm_host_send(const wm_outgoing *request, wm_response *response);
bool wm_no_answer(const wm_outgoing *request, wm_text why);

#endif
