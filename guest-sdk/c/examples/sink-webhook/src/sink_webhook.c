/*
 * Posts rows as JSON to an HTTP server.
 *
 *     [sinks.alerts]
 *     input = "errors"
 *     type = "plugin"
 *     plugin = "sink-webhook"
 *     config = { url = "https://hooks.example.com/rows" }
 *     grants = { http = ["hooks.example.com"] }
 *
 * Each request holds an array of at most `batch_rows` (1000) rows, each an object by column name. `headers` adds headers, `timeout_ms`
 * (10000) bounds the wait for an answer. The header `Idempotency-Key` is the same whenever the same rows of an epoch are sent again, after
 * an error or a restart: a server that remembers it gets every row once.
 *
 * An answer of 2xx is success. After 429, 5xx or no answer the host tries again, not before `Retry-After`. After another 4xx the request's
 * rows are rejected, or with `on_4xx = "fail"` the pipeline ends.
 *
 * Second lesson on sinks: HTTP. `plugin.toml` says `http = true`, and the pipeline file must grant the hosts; no other can be reached.
 * `begin` starts a partition of an epoch with its key, which outlives the call in memory of `realloc`; `write` gets its chunks.
 */
#include <stdio.h>
#include <stdlib.h>

#include <wasmill/http.h>

struct config {
    wm_text url;
    wm_entries headers;
    int64_t batch_rows, timeout_ms;
    wm_text on_4xx;
};

/* An open sink, and how far it is with its partition. */
struct webhook {
    const struct config *config;
    bool rejects;
    char *key;
    int requests;
};

#define WRONG(setting, ...) wm_fatal("the configuration is wrong: `" setting "`: " __VA_ARGS__)

static bool open(const void *config_, void **state)
{
    const struct config *config = config_;
    struct webhook *webhook = *state = wm_keep(sizeof *webhook);

    webhook->config = config;
    webhook->rejects = wm_text_equal(config->on_4xx, wm_text_of("reject"));
    if (!wm_is_url(config->url)) return WRONG("url", "`%.*s` is not an address as https://example.com/path", WM_ARG(config->url));
    if (config->batch_rows < 1) return WRONG("batch_rows", "it is at least 1");
    if (config->timeout_ms < 1) return WRONG("timeout_ms", "it is at least 1");
    if (webhook->rejects || wm_text_equal(config->on_4xx, wm_text_of("fail"))) return true;
    return WRONG("on_4xx", "unknown variant `%.*s`, expected `reject` or `fail`", WM_ARG(config->on_4xx));
}

static bool begin(wm_call *call, wm_text idempotency_key)
{
    struct webhook *webhook = call->state;
    webhook->key = realloc(webhook->key, idempotency_key.length + 1);
    snprintf(webhook->key, idempotency_key.length + 1, "%.*s", WM_ARG(idempotency_key));
    webhook->requests = 0;
    return true;
}

static bool post(struct webhook *webhook, wm_text rows, wm_response *answer)
{
    const struct config *config = webhook->config;
    wm_entry *headers = wm_alloc((2 + config->headers.count) * sizeof *headers);

    headers[0] = (wm_entry){ wm_text_of("Content-Type"), wm_text_of("application/json") };
    headers[1] = (wm_entry){ wm_text_of("Idempotency-Key"), wm_format("%s-%d", webhook->key, webhook->requests++) };
    for (size_t at = 0; at < config->headers.count; at++) headers[2 + at] = config->headers.entries[at];
    return wm_send(&(wm_request){
        .method = "POST", .url = config->url, .headers = { headers, 2 + config->headers.count },
        .body = wm_bytes_of(rows), .timeout = { config->timeout_ms },
    }, answer);
}

static uint32_t retry_after_ms(const wm_response *answer)
{
    const wm_text *after = wm_header(answer, "retry-after");
    int64_t seconds;
    if (after == NULL || !wm_json_int64((wm_json){ after->data, after->length }, &seconds) || seconds < 0) return 0;
    return seconds < UINT32_MAX / 1000 ? (uint32_t)seconds * 1000 : UINT32_MAX;
}

/* Rejects the rows that the server refused; false if it wants all of them again, or none any more. */
static bool settle(wm_call *call, uint32_t start, uint32_t end, const wm_response *answer)
{
    const struct webhook *webhook = call->state;
    wm_text because = wm_excerpt(answer);
    wm_text reason = wm_format("%.*s answered %d: %.*s", WM_ARG(webhook->config->url), answer->status, WM_ARG(because));

    if (answer->status / 100 == 2) return true;
    if (answer->status == 429 || answer->status / 100 == 5) return wm_retryable(retry_after_ms(answer), "%.*s", WM_ARG(reason));
    if (answer->status / 100 != 4 || !webhook->rejects) return wm_fatal("%.*s", WM_ARG(reason));
    for (uint32_t row = start; row < end; row++) wm_reject(call, row, "%.*s", WM_ARG(reason));
    return true;
}

static bool write(wm_call *call)
{
    struct webhook *webhook = call->state;
    int before = webhook->requests;
    uint32_t rows = call->input.rows;

    for (uint32_t start = 0, end; start < rows; start = end) {
        wm_response answer;
        end = rows - start > webhook->config->batch_rows ? start + (uint32_t)webhook->config->batch_rows : rows;
        if (post(webhook, wm_rows_json(&call->input, start, end), &answer) && settle(call, start, end, &answer)) continue;
        webhook->requests = before;     /* the host writes the chunk again: under the same keys */
        return false;
    }
    return true;
}

WASMILL_SINK(
    .config = WM_CONFIG(struct config, WM_SETTING(struct config, url, .required = true), WM_SETTING(struct config, headers),
        WM_SETTING(struct config, batch_rows), WM_SETTING(struct config, timeout_ms), WM_SETTING(struct config, on_4xx)),
    .defaults = &(const struct config){ .batch_rows = 1000, .timeout_ms = 10000, .on_4xx = { "reject", 6 } },
    .open = open,
    .begin = begin,
    .write = write,
);
