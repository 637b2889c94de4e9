/* Requests: addresses, what is sent, what is kept of answers. */
#include <stdlib.h>

#include <wasmill/http.h>
#include <wasmill/testing.h>

#include "../src/sdk.h"

static wm_response asked(const char *answer)
{
    wm_server *server = WM_SERVE(answer);
    wm_response response;
    WM_EXPECT(wm_send(&(wm_request){ .url = wm_text_of(server->url) }, &response));
    wm_requests(server);
    return response;
}

static void expect_text(wm_text text, const char *expected)
{
    WM_EXPECT(wm_text_equal(text, wm_text_of(expected)));
}

static void expect_failure(const char *url, wm_error_kind kind, const char *message)
{
    wm_response response;
    wm_request request = { .url = wm_text_of(url), .timeout = { 200 } };
    WM_EXPECT(!wm_send(&request, &response));
    WM_EXPECT(wm_last_error.kind == kind);
    expect_text(wm_last_error.message, message);
}

WM_TEST(an_address_is_refused_if_it_is_none)
{
    static const char *const good[] = { "http://127.0.0.1:80/a?b#c", "https://example.com?x=1", "http://x", "http://[::1]:8080/@", "http://x#a b" };
    static const char *const bad[] = { "", "example.com", "ftp://x", "http://", "http:///x", "http://:80/x", "http://u@x/", "http://x/a b", "http://?x" };
    for (size_t at = 0; at < sizeof good / sizeof *good; at++) WM_EXPECT(wm_is_url(wm_text_of(good[at])));
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) WM_EXPECT(!wm_is_url(wm_text_of(bad[at])));
}

WM_TEST(a_request_has_its_path_its_headers_and_its_length)
{
    wm_server *server = WM_SERVE("200 OK", "200 OK");
    wm_response response;
    wm_request request = { .url = wm_format("%s/a?b#c", server->url) };
    WM_EXPECT(wm_send(&request, &response));
    request = (wm_request){
        .method = "MOVE", .url = wm_format("%s?x=1", server->url), .body = wm_bytes_of(wm_text_of("[]")),
        .headers = WM_ENTRIES({ wm_text_of("X-Team"), wm_text_of("ops") }),
    };
    WM_EXPECT(wm_send(&request, &response));
    const char *const *requests = wm_requests(server), *host = server->url + strlen("http://");
    WM_EXPECT(strcmp(requests[0], wm_format("GET /a?b HTTP/1.0\r\nhost: %s\r\ncontent-length: 0\r\n\r\n", host).data) == 0);
    WM_EXPECT(strcmp(requests[1], wm_format("MOVE /?x=1 HTTP/1.0\r\nhost: %s\r\nx-team: ops\r\ncontent-length: 2\r\n\r\n[]", host).data) == 0);
}

WM_TEST(an_answer_has_its_headers_in_lower_case)
{
    wm_response response = asked("503 Busy\r\nRetry-After:  7\r\nnonsense\r\nX-Empty:\r\nRETRY-AFTER: 8\r\n\r\nwait");
    WM_EXPECT(response.status == 503 && response.headers.count == 3);
    expect_text(*wm_header(&response, "retry-after"), "7");
    expect_text(*wm_header(&response, "x-empty"), "");
    WM_EXPECT(wm_header(&response, "nonsense") == NULL);
    expect_text(wm_excerpt(&response), "wait");
}

WM_TEST(of_a_long_body_the_start_is_kept)
{
    const size_t most = 64 << 10;
    char *answer = malloc(most + 64);
    memset(answer, 'x', most + 64);
    memcpy(answer, "200 OK\r\n\r\n", 10);
    answer[most + 63] = 0;
    wm_response response = asked(answer);
    WM_EXPECT(response.body.length == most && response.body.data[most - 1] == 'x');
    WM_EXPECT(wm_excerpt(&response).length == 200);
}

WM_TEST(an_excerpt_is_text_whatever_the_body_is)
{
    wm_response response = asked("200 OK\r\nX: caf\xe9\r\n\r\n \n a\xc3\xa9 \xff\xe2\x82 \xed\xa0\x80 \xf0\x9f\x98\x80\xc3 ");
    expect_text(wm_excerpt(&response), "a\u00e9 \ufffd\ufffd \ufffd\ufffd\ufffd \U0001f600\ufffd");
    expect_text(*wm_header(&response, "x"), "caf\ufffd");
    response.body = wm_bytes_of(wm_text_of(" "));
    expect_text(wm_excerpt(&response), "");
}

WM_TEST(an_error_outlives_the_next_request)
{
    wm_server *server = WM_SERVE("200 OK\r\n\r\nfirst", "200 OK\r\n\r\nsecond");
    wm_request request = { .url = wm_text_of(server->url) };
    wm_response response;
    WM_EXPECT(wm_send(&request, &response));
    expect_text(wm_excerpt(&response), "first");
    expect_failure("https://x/", WM_ERROR_FATAL, "a native test has no TLS: use an address of http://");
    WM_EXPECT(wm_send(&request, &response));
    expect_text(wm_excerpt(&response), "second");
    expect_text(wm_last_error.message, "a native test has no TLS: use an address of http://");
}

WM_TEST(what_gets_no_answer_may_be_sent_again_and_what_is_wrong_may_not)
{
    wm_server *server = WM_SERVE("");
    const char *host = server->url + strlen("http://");
    expect_failure(server->url, WM_ERROR_RETRYABLE, wm_format("no answer from %s: the answer is not HTTP", host).data);
    wm_requests(server);
    expect_failure(server->url, WM_ERROR_RETRYABLE, wm_format("no answer from %s: Connection refused", host).data);
    expect_failure("https://x/", WM_ERROR_FATAL, "a native test has no TLS: use an address of http://");
    expect_failure("x", WM_ERROR_FATAL, "`x` is not an address as https://example.com/path");
}
