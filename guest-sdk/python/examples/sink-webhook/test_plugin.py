import json
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from plugin import Webhook

from wasmill import Error, ErrorKind, testing


@contextmanager
def server(*answers: int) -> Iterator[tuple[str, list[tuple[str | None, Any]]]]:
    """A server that answers with these, the last again and again; its address, and the key and rows of each request."""
    received: list[tuple[str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = answers[min(len(received), len(answers) - 1)]
            received.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(status)
            self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(b"because")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}/rows", received
        finally:
            served.shutdown()
            thread.join()


ROWS = [{"word": "a"}, {"word": "b"}, {"word": "c"}]
SCHEMA = {"word": "utf8"}


class PostsRows(unittest.TestCase):
    def test_rows_are_posted_with_a_key_and_what_is_sent_again_has_the_same(self):
        with server(200, 503, 200) as (url, received):
            run = testing.sink(Webhook, ROWS, SCHEMA, {"url": url, "batch_rows": 2}, key="k", retries=1)
        sent = [("k-0", ROWS[:2]), ("k-1", ROWS[2:])]
        self.assertEqual(received, sent + sent)
        self.assertEqual(run.rejected, [])

    def test_rows_that_the_server_does_not_want_are_rejected(self):
        with server(200, 422) as (url, _):
            run = testing.sink(Webhook, ROWS, SCHEMA, {"url": url, "batch_rows": 2})
            with self.assertRaisesRegex(Error, "answered 422: because"):
                testing.sink(Webhook, ROWS, SCHEMA, {"url": url, "on_4xx": "fail"})
        self.assertEqual(run.rejected, [(2, f"{url} answered 422: because")])

    def test_the_host_tries_again_when_the_server_says_so(self):
        with server(503) as (url, _), self.assertRaises(Error) as raised:
            testing.sink(Webhook, ROWS, SCHEMA, {"url": url})
        self.assertEqual((raised.exception.kind, raised.exception.after), (ErrorKind.RETRYABLE, timedelta(seconds=7)))

    def test_a_wrong_address_is_told_at_once(self):
        for url in ["", "x.org", "ftp://x", "http://", "http:///x", "http://:80/x", "http://u@x/", "http://x/a b"]:
            with self.assertRaisesRegex(Error, "is not an address"):
                testing.sink(Webhook, config={"url": url}, schema=SCHEMA)

    def test_nobody_there_is_worth_another_try(self):
        with self.assertRaises(Error) as raised:
            testing.sink(Webhook, ROWS, SCHEMA, {"url": "http://127.0.0.1:1/"})
        self.assertEqual(raised.exception.kind, ErrorKind.RETRYABLE)


if __name__ == "__main__":
    unittest.main()
