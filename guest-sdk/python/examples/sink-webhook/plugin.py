"""Posts rows as JSON to an HTTP server.

    [sinks.alerts]
    input = "errors"
    type = "plugin"
    plugin = "sink-webhook"
    config = { url = "https://hooks.example.com/rows" }
    grants = { http = ["hooks.example.com"] }

Each request holds an array of at most `batch_rows` (1000) rows, each an object by column name. `headers` adds headers,
`timeout_ms` (10000) bounds the wait for an answer. The header `Idempotency-Key` is the same whenever the same rows of
an epoch are sent again, after an error or a restart: a server that remembers it gets every row once.

An answer of 2xx is success. After 429, 5xx or no answer the host tries again, not before `Retry-After`. After another
4xx the request's rows are rejected, or with `on_4xx = "fail"` the pipeline ends.

Second lesson on sinks: HTTP. `plugin.toml` says `http = true`, and the pipeline file must grant the hosts; no other can
be reached. `begin` starts a partition of an epoch with its key, `write` gets its chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from wasmill import Batch, Error, Field, Sink, http


@dataclass
class Config:
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    batch_rows: int = 1000
    timeout_ms: int = 10_000
    on_4xx: Literal["reject", "fail"] = "reject"


class Webhook(Sink[Config]):
    def __init__(self, config: Config, columns: Sequence[Field]) -> None:
        super().__init__(config, columns)
        http.parse(config.url)  # a wrong one is told before the pipeline starts
        if config.batch_rows < 1:
            raise Error("`batch_rows` is at least 1")
        self.key = ""
        self.requests = 0

    def begin(self, idempotency_key: str) -> None:
        self.key = idempotency_key
        self.requests = 0

    def write(self, batch: Batch[Any]) -> None:
        before = self.requests
        try:
            self.post_all(batch)
        except Error:
            self.requests = before  # the host writes the chunk again: under the same keys
            raise

    def post_all(self, batch: Batch[Any]) -> None:
        rows = list(batch.json())
        for start in range(0, len(rows), self.config.batch_rows):
            part = rows[start : start + self.config.batch_rows]
            if refused := self.refusal(self.post(part)):
                for row in range(start, start + len(part)):
                    batch.reject(row, refused)

    def post(self, rows: list[str]) -> http.Response:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{self.key}-{self.requests}",
            **self.config.headers,
        }
        self.requests += 1
        timeout = timedelta(milliseconds=self.config.timeout_ms)
        return http.post(self.config.url, f"[{','.join(rows)}]".encode(), headers, timeout)

    def refusal(self, answer: http.Response) -> str | None:
        """Why the rows of a request were refused, if they were."""
        if 200 <= answer.status < 300:
            return None
        reason = f"{self.config.url} answered {answer.status}: {answer.excerpt()}"
        if answer.status == 429 or answer.status >= 500:
            seconds = answer.headers.get("retry-after", "")
            raise Error.retryable(reason, after=timedelta(seconds=int(seconds)) if seconds.isdigit() else None)
        if 400 <= answer.status < 500 and self.config.on_4xx == "reject":
            return reason
        raise Error(reason)
