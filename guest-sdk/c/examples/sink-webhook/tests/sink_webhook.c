#include <wasmill/testing.h>

/* Three rows for the server, with the settings that are not `url`. */
static wm_test rows_to(const char *url, const char *settings)
{
    return (wm_test){
        .config = wm_format("{'url': '%s/rows'%s}", url, settings).data, .key = "p-7-0",
        .schema = { { "word", "utf8" }, { "n", "int64?" } },
        .rows = { "{'word': 'a', 'n': 1}", "{\"word\": \"\u00e9\\\"\", \"n\": null}", "{'word': 'c', 'n': 3}" },
    };
}

static void expect_request(const char *request, const char *header, const char *body)
{
    WM_EXPECT(strncmp(request, "POST /rows HTTP/1.0\r\n", 21) == 0);
    WM_EXPECT(strstr(request, wm_format("\r\n%s\r\n", header).data) != NULL);
    WM_EXPECT(strcmp(strstr(request, "\r\n\r\n") + 4, body) == 0);
}

WM_TEST(rows_arrive_in_batches_each_under_its_own_key)
{
    wm_server *server = WM_SERVE("200 OK", "204 No Content");
    wm_run *run = wm_run_sink(rows_to(server->url, ", 'batch_rows': 2, 'headers': {'X-Team': 'ops'}"));
    const char *const *requests = wm_requests(server);
    WM_EXPECT_REJECTED(run, 0);
    expect_request(requests[0], "idempotency-key: p-7-0-0", "[{\"word\":\"a\",\"n\":1},{\"word\":\"\u00e9\\\"\",\"n\":null}]");
    expect_request(requests[1], "idempotency-key: p-7-0-1", "[{\"word\":\"c\",\"n\":3}]");
    expect_request(requests[1], "x-team: ops", "[{\"word\":\"c\",\"n\":3}]");
}

WM_TEST(a_busy_server_is_tried_again_when_it_says)
{
    wm_server *server = WM_SERVE("503 Busy\r\nRetry-After: 7\r\n\r\nbecause");
    wm_run *run = wm_run_sink(rows_to(server->url, ""));
    WM_EXPECT_ERROR(run, "retryable", wm_format("%s/rows answered 503: because", server->url).data);
    WM_EXPECT_AFTER(run, 7000);
}

WM_TEST(a_chunk_that_is_written_again_has_the_same_keys)
{
    wm_server *server = WM_SERVE("200 OK", "500 Oh", "200 OK", "200 OK");
    wm_test test = rows_to(server->url, ", 'batch_rows': 2");
    test.retries = 1;
    WM_EXPECT_REJECTED(wm_run_sink(test), 0);
    const char *const *requests = wm_requests(server);
    WM_EXPECT(strcmp(requests[0], requests[2]) == 0);
    WM_EXPECT(strcmp(requests[1], requests[3]) == 0);
}

WM_TEST(no_server_is_tried_again)
{
    wm_server *server = WM_SERVE();
    wm_requests(server);
    wm_run *run = wm_run_sink(rows_to(server->url, ""));
    WM_EXPECT_ERROR(run, "retryable", wm_format("no answer from %s: Connection refused", server->url + strlen("http://")).data);
    WM_EXPECT_AFTER(run, 0);
}

WM_TEST(rows_that_the_server_refuses_are_rejected_and_the_others_go_on)
{
    wm_server *server = WM_SERVE("422 Unprocessable\r\n\r\nbecause", "200 OK");
    wm_run *run = wm_run_sink(rows_to(server->url, ", 'batch_rows': 2"));
    const char *reason = wm_format("%s/rows answered 422: because", server->url).data;
    WM_EXPECT_REJECTED(run, 0, { 0, reason }, { 1, reason });
}

WM_TEST(a_refusal_ends_the_pipeline_if_it_is_to)
{
    wm_server *server = WM_SERVE("401 Unauthorized\r\n\r\nwho are you");
    wm_run *run = wm_run_sink(rows_to(server->url, ", 'on_4xx': 'fail'"));
    WM_EXPECT_ERROR(run, "fatal", wm_format("%s/rows answered 401: who are you", server->url).data);
}

WM_TEST(a_wrong_setting_is_told_before_the_sink_is_opened)
{
    static const char *const wrong[][2] = {
        { "{'url': 'example.com'}", "the configuration is wrong: `url`: `example.com` is not an address as https://example.com/path" },
        { "{'url': 'http://x/', 'batch': 1}",
          "the configuration is wrong: there is no setting `batch`; there are `url`, `headers`, `batch_rows`, `timeout_ms`, `on_4xx`" },
        { "{'url': 'http://x/', 'batch_rows': 0}", "the configuration is wrong: `batch_rows`: it is at least 1" },
        { "{'url': 'http://x/', 'on_4xx': 'drop'}", "the configuration is wrong: `on_4xx`: unknown variant `drop`, expected `reject` or `fail`" },
        { "{'url': 'http://x/', 'headers': {'a': 1}}", "the configuration is wrong: `headers`: invalid type: integer `1`, expected a string" },
        { "{'url': 'http://x/', 'headers': 'a'}", "the configuration is wrong: `headers`: invalid type: string \"a\", expected a map" },
    };
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        WM_EXPECT_ERROR(wm_run_sink((wm_test){ .config = wrong[at][0] }), "fatal", wrong[at][1]);
    }
}
