/* World `http-sink-plugin`: what every sink exports, and requests through wasi:http. Whoever gets a resource drops it or passes it on, a
 * child before its parent. Lists that the host makes lie in the memory of the call, so nothing else is freed. */
#include "../bindings/http_sink_plugin.h"
#define WORLD http_sink
#include "sink.h"
#include "../src/http.h"

#define HTTP(name) wasi_http_types_##name
#define STREAM(name) wasi_io_streams_##name
#define MOST_WRITTEN 4096       /* by one blocking-write-and-flush */

_Static_assert(sizeof(HTTP(tuple2_field_name_field_value_t)) == sizeof(wm_entry), "a header");

/* In the order of wasi:http's error-code. */
static const char *const reasons[] = {
    "DNS timeout", "DNS error", "destination not found", "destination unavailable", "destination IP prohibited", "destination IP unroutable",
    "connection refused", "connection terminated", "connection timeout", "connection read timeout", "connection write timeout",
    "connection limit reached", "TLS protocol error", "TLS certificate error", "TLS alert received", "request denied",
    "request length required", "request body size", "request method invalid", "request URI invalid", "request URI too long",
    "request header section size", "request header size", "request trailer section size", "request trailer size", "response incomplete",
    "response header section size", "response header size", "response body size", "response trailer section size",
    "response trailer size", "response transfer coding", "response content coding", "response timeout", "upgrade failed",
    "protocol error", "loop detected", "configuration error", "internal error",
};
_Static_assert(sizeof reasons / sizeof *reasons == WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR + 1, "a reason for each error-code");

static bool no_answer(const wm_outgoing *request, const HTTP(error_code_t) *code)
{
    switch (code->tag) {
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED:
        return wm_fatal("the pipeline file does not grant requests to %.*s", WM_ARG(request->authority));
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_INVALID:
        return wm_fatal("`%.*s` is not a host", WM_ARG(request->authority));
    case WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR:
        if (code->val.internal_error.is_some) return wm_no_answer(request, text(&code->val.internal_error.val));
        break;
    default:
        break;
    }
    return wm_no_answer(request, wm_text_of(reasons[code->tag]));
}

/* For what wasi:http has succeed when it is asked for the first time. */
static void must(bool done)
{
    if (!done) wm_panic("the host breaks the contract of wasi:http");
}

static HTTP(method_t) method_of(const char *name)
{
    static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH" };
    HTTP(method_t) method = { .val = { .other = string(wm_text_of(name)) } };
    while (method.tag < WASI_HTTP_TYPES_METHOD_OTHER && strcmp(known[method.tag], name) != 0) method.tag++;
    return method;
}

static bool make_request(const wm_outgoing *request, HTTP(own_outgoing_request_t) *made)
{
    HTTP(list_tuple2_field_name_field_value_t) headers = { (void *)request->headers.entries, request->headers.count };
    HTTP(scheme_t) scheme = { .tag = request->secure ? WASI_HTTP_TYPES_SCHEME_HTTPS : WASI_HTTP_TYPES_SCHEME_HTTP };
    HTTP(method_t) method = method_of(request->method);
    STRING authority = string(request->authority), path = string(request->path);
    HTTP(own_fields_t) fields;
    HTTP(header_error_t) error;
    if (!HTTP(static_fields_from_list)(&headers, &fields, &error)) return wm_fatal("a header is not valid");
    *made = HTTP(constructor_outgoing_request)(fields);
    HTTP(borrow_outgoing_request_t) to = HTTP(borrow_outgoing_request)(*made);
    if (HTTP(method_outgoing_request_set_method)(to, &method) && HTTP(method_outgoing_request_set_scheme)(to, &scheme)
        && HTTP(method_outgoing_request_set_authority)(to, &authority) && HTTP(method_outgoing_request_set_path_with_query)(to, &path)) return true;
    HTTP(outgoing_request_drop_own)(*made);
    return wm_fatal("`%.*s%.*s` is not an address", WM_ARG(request->authority), WM_ARG(request->path));
}

static HTTP(own_request_options_t) options_of(const wm_outgoing *request)
{
    HTTP(own_request_options_t) options = HTTP(constructor_request_options)();
    HTTP(borrow_request_options_t) to = HTTP(borrow_request_options)(options);
    uint64_t nanos;
    if (__builtin_mul_overflow(request->timeout_ms, 1000000, &nanos)) nanos = UINT64_MAX;
    must(HTTP(method_request_options_set_connect_timeout)(to, &nanos));
    must(HTTP(method_request_options_set_first_byte_timeout)(to, &nanos));
    must(HTTP(method_request_options_set_between_bytes_timeout)(to, &nanos));
    return options;
}

/* Why a stream gives or takes no more: whether it is at its end. */
static bool ended(const STREAM(stream_error_t) *error)
{
    bool closed = error->tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED;
    if (!closed) wasi_io_error_error_drop_own(error->val.last_operation_failed);
    return closed;
}

static bool write_body(HTTP(own_outgoing_body_t) body, wm_bytes bytes)
{
    STREAM(own_output_stream_t) stream;
    STREAM(stream_error_t) error;
    bool written = true;
    must(HTTP(method_outgoing_body_write)(HTTP(borrow_outgoing_body)(body), &stream));
    for (size_t at = 0; written && at < bytes.length; at += MOST_WRITTEN) {
        size_t left = bytes.length - at;
        LOCAL(list_u8_t) piece = { (uint8_t *)bytes.data + at, left < MOST_WRITTEN ? left : MOST_WRITTEN };
        written = STREAM(method_output_stream_blocking_write_and_flush)(STREAM(borrow_output_stream)(stream), &piece, &error);
    }
    if (!written) ended(&error);
    STREAM(output_stream_drop_own)(stream);
    return written;
}

static bool read_body(HTTP(own_incoming_body_t) body, wm_bytes *bytes)
{
    STREAM(own_input_stream_t) stream;
    STREAM(stream_error_t) error;
    LOCAL(list_u8_t) piece;
    uint8_t *kept = NULL;
    size_t length = 0, room = 0;
    bool more = true;
    must(HTTP(method_incoming_body_stream)(HTTP(borrow_incoming_body)(body), &stream));
    while (length < WM_MOST_BODY) {
        more = STREAM(method_input_stream_blocking_read)(STREAM(borrow_input_stream)(stream), WM_MOST_BODY - length, &piece, &error);
        if (!more) break;
        if (room - length < piece.len) {
            room = (length + piece.len) * 2;
            kept = length == 0 ? wm_take(room) : memcpy(wm_take(room), kept, length);
        }
        if (piece.len > 0) memcpy(kept + length, piece.ptr, piece.len);
        length += piece.len;
    }
    *bytes = (wm_bytes){ kept, length };
    bool whole = more || ended(&error);
    STREAM(input_stream_drop_own)(stream);
    return whole;
}

static bool read_answer(HTTP(own_incoming_response_t) answer, wm_response *response)
{
    HTTP(borrow_incoming_response_t) from = HTTP(borrow_incoming_response)(answer);
    HTTP(own_fields_t) fields = HTTP(method_incoming_response_headers)(from);
    HTTP(list_tuple2_field_name_field_value_t) headers;
    HTTP(own_incoming_body_t) body;
    HTTP(method_fields_entries)(HTTP(borrow_fields)(fields), &headers);
    HTTP(fields_drop_own)(fields);
    must(HTTP(method_incoming_response_consume)(from, &body));
    response->headers = (wm_entries){ (const wm_entry *)(const void *)headers.ptr, headers.len };
    bool whole = read_body(body, &response->body);
    HTTP(incoming_body_drop_own)(body);
    return whole;
}

/* Waits for what the future brings. */
static bool answer_of(HTTP(own_future_incoming_response_t) future, HTTP(own_incoming_response_t) *answer, HTTP(error_code_t) *error)
{
    HTTP(borrow_future_incoming_response_t) from = HTTP(borrow_future_incoming_response)(future);
    HTTP(own_pollable_t) ready = HTTP(method_future_incoming_response_subscribe)(from);
    HTTP(result_result_own_incoming_response_error_code_void_t) came;
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(ready));
    wasi_io_poll_pollable_drop_own(ready);
    must(HTTP(method_future_incoming_response_get)(from, &came) && !came.is_err);
    HTTP(future_incoming_response_drop_own)(future);
    if (came.val.ok.is_err) *error = came.val.ok.val.err;
    else *answer = came.val.ok.val.ok;
    return !came.val.ok.is_err;
}

bool wm_host_send(const wm_outgoing *request, wm_response *response)
{
    HTTP(own_outgoing_request_t) made;
    HTTP(own_outgoing_body_t) body;
    HTTP(own_future_incoming_response_t) future;
    HTTP(own_incoming_response_t) answer;
    HTTP(error_code_t) error, unfinished;
    if (!make_request(request, &made)) return false;
    must(HTTP(method_outgoing_request_body)(HTTP(borrow_outgoing_request)(made), &body));
    HTTP(own_request_options_t) options = options_of(request);
    if (!wasi_http_outgoing_handler_handle(made, &options, &future, &error)) {
        HTTP(outgoing_body_drop_own)(body);
        return no_answer(request, &error);
    }
    /* A peer may answer and close before it has read everything: then the answer says more than the failed write. */
    bool written = write_body(body, request->body);
    bool finished = HTTP(static_outgoing_body_finish)(body, NULL, &unfinished);
    if (!answer_of(future, &answer, &error)) return no_answer(request, &error);
    response->status = HTTP(method_incoming_response_status)(HTTP(borrow_incoming_response)(answer));
    bool taken = response->status >= 300 || (written && finished);
    bool whole = taken && read_answer(answer, response);
    HTTP(incoming_response_drop_own)(answer);
    if (!taken) return written ? no_answer(request, &unfinished) : wm_retryable(0, "the request to %.*s broke off", WM_ARG(request->authority));
    return whole || wm_retryable(0, "the answer from %.*s broke off", WM_ARG(request->authority));
}
