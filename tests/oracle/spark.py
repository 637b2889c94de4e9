#!/usr/bin/env python3
"""Asks Spark what the golden cases `spark-*` should give.

    python3 -m venv /tmp/spark && /tmp/spark/bin/pip install pyspark==4.3.0    # and Java 17 with its compiler
    /tmp/spark/bin/python tests/oracle/spark.py [CASE...]                      # all cases, or those that are named

Each case has a DStream program below. It is run over the batches of the case's `queue` sources, the very files that
Wasmill reads: a file `3000.jsonl` is Spark's batch at 3000 ms, its third, since the batch interval is 1 s and the clock
begins at 0; where there is no file, Spark has an empty batch. What the program gives is written to `spark.jsonl` in the
case's folder, a line a row, sorted:

    {"time": 3000, "sink": "counts", "row": {"word": "be", "n": 2}}

The time is that of the batch, the sink is the folder below `output/` that Wasmill writes the same rows to, and a member that
is null is left out, as Wasmill does. `cargo test -p wasmill-tests --test oracle` compares Wasmill with it, without Spark. Rows
that Wasmill is known not to give are copied by hand to `unlike-spark.jsonl`, and the case's `pipeline.toml` says why.

Spark's clock is the manual one of its own tests, so that a batch comes as soon as the one before it is done.
"""

import json
import operator
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyspark
from pyspark import SparkConf, SparkContext
from pyspark.serializers import UTF8Deserializer
from pyspark.streaming import DStream, StreamingContext

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
INTERVAL = 1000  # ms between two batches

# mapWithState is not in Spark's Python API: it is called in Java, on strings.
RUNNING_COUNT = """
import org.apache.spark.api.java.Optional;
import org.apache.spark.api.java.function.Function3;
import org.apache.spark.streaming.State;
import org.apache.spark.streaming.StateSpec;
import org.apache.spark.streaming.api.java.JavaDStream;
import scala.Tuple2;

public class RunningCount {
    public static JavaDStream<String> of(JavaDStream<String> words) {
        Function3<String, Optional<Long>, State<Long>, String> count = (word, n, state) -> {
            long total = n.get() + (state.exists() ? state.get() : 0);
            state.update(total);
            return word + " " + total;
        };
        return words.mapToPair(word -> new Tuple2<>(word, 1L))
            .reduceByKey(Long::sum)
            .mapWithState(StateSpec.function(count));
    }
}
"""


# The programs: each is given the case and answers, for each sink, a stream of rows. A row is a dict.


def map_filter(case):
    lines = case.stream("input")
    return {
        "words": lines.flatMap(words).map(row("word")),
        "upper": lines.map(lambda line: {"line": line.upper(), "characters": len(line)}),
        "matching": lines.filter(lambda line: re.search("ERROR|FATAL", line)).map(row("line")),
        "long": lines.filter(lambda line: len(line) > 12).map(row("line")),
    }


def union_repartition(case):
    lines = case.stream("input/left").union(case.stream("input/right"))
    return {
        "union": lines.map(row("line")),
        "repartition": lines.repartition(3).map(row("line")),
    }


def counts(case):
    lines = case.stream("input")
    return {
        "count": lines.flatMap(words).count().map(row("n")),
        "count-of-few": lines.filter(lambda line: "?" in line).count().map(row("n")),
        "by-value": lines.flatMap(words).countByValue().map(row("word", "n")),
    }


def reduces(case):
    orders = case.stream("input")
    by_user = lambda column, f: orders.map(lambda order: (order["user"], order[column])).reduceByKey(f)
    mean = orders.map(lambda order: (order["user"], (order["amount"], 1))).reduceByKey(
        lambda a, b: (a[0] + b[0], a[1] + b[1])
    )
    return {
        "sum": by_user("amount", operator.add).map(row("user", "total")),
        "min": by_user("amount", min).map(row("user", "least")),
        "max": by_user("amount", max).map(row("user", "most")),
        "weight": by_user("weight", operator.add).map(row("user", "weight")),
        "first": by_user("item", min).map(row("user", "item")),
        "last": by_user("item", max).map(row("user", "item")),
        "mean": mean.mapValues(lambda of: of[0] / of[1]).map(row("user", "mean")),
        "by-two": orders.map(lambda order: ((order["user"], order["item"]), order["amount"]))
        .reduceByKey(operator.add)
        .map(lambda total: {"user": total[0][0], "item": total[0][1], "total": total[1]}),
        "reduce": orders.map(lambda order: order["amount"]).reduce(operator.add).map(row("total")),
    }


def windows(case):
    orders = case.stream("input")
    amounts = orders.map(lambda order: (order["user"], order["amount"]))
    counted = amounts.mapValues(lambda amount: (amount, 1))
    add = lambda a, b: (a[0] + b[0], a[1] + b[1])
    subtract = lambda a, b: (a[0] - b[0], a[1] - b[1])
    there = lambda total: total[1][1] > 0
    # Spark takes the inverse only where a window is longer than five slides; else it adds the batches up anew.
    by_inverse = counted.reduceByKeyAndWindow(add, subtract, 6, 1, filterFunc=there)
    anew = counted.reduceByKeyAndWindow(add, None, 6, 1)
    total = lambda total: {"user": total[0], "total": total[1][0], "n": total[1][1]}
    users = amounts.map(lambda amount: amount[0])
    return {
        "sum": case.windowed(6, anew.map(total)),
        "sum-by-inverse": case.windowed(6, by_inverse.map(total)),
        "min": case.windowed(4, amounts.reduceByKeyAndWindow(min, None, 4, 2).map(row("user", "least"))),
        "max": case.windowed(4, amounts.reduceByKeyAndWindow(max, None, 4, 2).map(row("user", "most"))),
        "by-value": case.windowed(3, users.countByValueAndWindow(3, 1).map(row("user", "n"))),
        "by-value-by-inverse": case.windowed(7, users.countByValueAndWindow(7, 1).map(row("user", "n"))),
        "count": case.windowed(6, users.countByWindow(6, 1).map(row("n"))),
        "count-by-two": case.windowed(4, users.window(4, 2).count().map(row("n"))),
        "tumbling": case.windowed(3, amounts.window(3, 3).reduceByKey(operator.add).map(row("user", "total"))),
        "reduce": case.windowed(3, amounts.map(lambda amount: amount[1]).reduceByWindow(max, None, 3, 1).map(row("most"))),
        "one-batch": case.windowed(1, users.countByValueAndWindow(1, 1).map(row("user", "n"))),
    }


def windows_between(case):
    found = case.stream("input").flatMap(words)
    return {
        "sliding": case.windowed(3, found.countByValueAndWindow(3, 1).map(row("word", "n"))),
        "tumbling": case.windowed(4, found.countByValueAndWindow(4, 4).map(row("word", "n"))),
    }


def joins(case):
    clicks = case.stream("input/clicks").map(lambda click: ((click["user"], click["day"]), click["page"]))
    logins = case.stream("input/logins").map(lambda login: ((login["user"], login["day"]), login["host"]))
    both = lambda pair: {"user": pair[0][0], "day": pair[0][1], "page": pair[1][0], "host": pair[1][1]}
    count = lambda stream: stream.map(lambda pair: pair[0][0]).countByValue()
    return {
        "inner": clicks.join(logins).map(both),
        "left": clicks.leftOuterJoin(logins).map(both),
        "right": clicks.rightOuterJoin(logins).map(both),
        "full": clicks.fullOuterJoin(logins).map(both),
        "counts": count(clicks)
        .fullOuterJoin(count(logins))
        .map(lambda pair: {"user": pair[0], "clicks": pair[1][0], "logins": pair[1][1]}),
    }


def joined_windows(case):
    clicks = case.stream("input/clicks").map(lambda click: (click["user"], click["page"]))
    logins = case.stream("input/logins").map(lambda login: (login["user"], login["host"]))
    both = lambda pair: {"user": pair[0], "page": pair[1][0], "host": pair[1][1]}
    full = clicks.window(4, 4).fullOuterJoin(logins.window(4, 4))
    return {
        "inner": case.windowed(4, clicks.window(4, 2).join(logins.window(4, 2)).map(both)),
        "left": case.windowed(3, clicks.window(3, 1).leftOuterJoin(logins.window(3, 1)).map(both)),
        "right": case.windowed(5, clicks.window(2, 1).rightOuterJoin(logins.window(5, 1)).map(both)),
        "full": case.windowed(4, full.map(both)),
        "with-the-batch": case.windowed(3, clicks.window(3, 1).fullOuterJoin(logins).map(both)),
    }


def window_join(case):
    found = case.stream("input").flatMap(words)
    now = found.countByValue()
    joined = found.countByValueAndWindow(3, 1).leftOuterJoin(now)
    return {"out": case.windowed(3, joined.map(lambda pair: {"word": pair[0], "n": pair[1][0], "now": pair[1][1]}))}


def static_join(case):
    clicks = case.stream("input/clicks").map(lambda click: (click["user"], click["page"]))
    users = [(user["user"], user["name"]) for user in read(case.folder / "input/users.jsonl")]
    # The RDD is made anew for each batch: a checkpoint cannot hold one.
    table = lambda rdd: rdd.context.parallelize(users)
    both = lambda pair: {"user": pair[0], "page": pair[1][0], "name": pair[1][1]}
    return {
        "inner": clicks.transform(lambda rdd: rdd.join(table(rdd))).map(both),
        "left": clicks.transform(lambda rdd: rdd.leftOuterJoin(table(rdd))).map(both),
    }


def state(case):
    found = case.stream("input/lines").flatMap(words)
    ones = found.map(lambda word: (word, 1))
    visits = case.stream("input/visits").map(lambda visit: (visit["user"], visit["page"]))
    # Whether the key has rows in this batch, and its last three pages.
    last = visits.updateStateByKey(lambda new, old: (bool(new), ((old[1] if old else []) + new)[-3:]))
    return {
        "update-state-by-key": ones.updateStateByKey(lambda new, old: (old or 0) + sum(new)).map(row("word", "n")),
        "map-with-state": case.running_count(found).map(row("word", "n")),
        "last": last.filter(lambda user: user[1][0]).map(lambda user: {"user": user[0], "pages": user[1][1]}),
    }


def reducers(case):
    orders = case.stream("input")
    items = orders.map(lambda order: (order["user"], order["item"]))
    sums = orders.map(lambda order: (order["user"], (order["amount"], 1)))
    longer = lambda a, b: b if len(b) > len(a) else a
    add = lambda a, b: (a[0] + b[0], a[1] + b[1])
    subtract = lambda a, b: (a[0] - b[0], a[1] - b[1])
    there = lambda total: total[1][1] > 0
    sum = lambda total: {"user": total[0], "sum": total[1][0], "count": total[1][1]}
    by_inverse = sums.reduceByKeyAndWindow(add, subtract, 6, 1, filterFunc=there)
    only = items.map(lambda item: item[1])
    return {
        "reduce": only.reduce(longer).map(row("item")),
        "longest": items.reduceByKey(longer).map(row("user", "item")),
        "sums": sums.reduceByKey(add).map(sum),
        "longest-of-window": case.windowed(4, items.reduceByKeyAndWindow(longer, None, 4, 2).map(row("user", "item"))),
        "sums-of-window": case.windowed(6, sums.reduceByKeyAndWindow(add, None, 6, 1).map(sum)),
        "sums-of-window-by-inverse": case.windowed(6, by_inverse.map(sum)),
        "reduce-of-window": case.windowed(3, only.reduceByWindow(longer, None, 3, 1).map(row("item"))),
    }


def cogroup(case):
    impressions = case.stream("input/impressions")
    impressions = impressions.map(lambda shown: (shown["user"], (shown["shown"], shown["campaign"])))
    clicks = case.stream("input/clicks").map(lambda click: (click["user"], click["clicked"]))
    time = datetime.fromisoformat

    def attribute(new, old):
        """The latest impression of a user, and what came of this batch's clicks."""
        impressions = [old[0]] if old and old[0] else []
        clicks = []
        for shown, clicked in new:
            impressions += shown
            clicks += clicked
        attributed = []
        for click in clicks:
            # The last of those with the greatest time.
            before = [shown for shown in impressions if shown[0] <= click]
            last = max(reversed(before), key=lambda shown: shown[0], default=None)
            owed = last and time(click) - time(last[0]) <= timedelta(minutes=30)
            attributed.append((click, last[1] if owed else None))
        return max(reversed(impressions), key=lambda shown: shown[0], default=None), attributed

    owed = impressions.cogroup(clicks).updateStateByKey(attribute)
    each = owed.flatMap(lambda user: [(user[0], *click) for click in user[1][1]])
    return {"attributed": each.map(row("user", "clicked", "campaign"))}


PROGRAMS = {
    "spark-cogroup": cogroup,
    "spark-counts": counts,
    "spark-joined-windows": joined_windows,
    "spark-joins": joins,
    "spark-map-filter": map_filter,
    "spark-reduce": reduces,
    "spark-reducers": reducers,
    "spark-state": state,
    "spark-static-join": static_join,
    "spark-union-repartition": union_repartition,
    "spark-window-join": window_join,
    "spark-windows": windows,
    "spark-windows-between": windows_between,
}


def row(*names):
    """A function that makes a row of a value, or of a tuple's values."""
    return lambda values: dict(zip(names, values if isinstance(values, tuple) else (values,)))


def words(line):
    """The words of a line, as the plugin `split-words` finds them: between ASCII white space."""
    return re.findall("[^ \t\n\f\r]+", line)


def read(path):
    """The records of a file: the objects of JSON lines, or the lines."""
    lines = path.read_text(encoding="utf-8").split("\n")
    if not lines[-1]:
        lines.pop()
    return [json.loads(line) for line in lines] if path.suffix == ".jsonl" else lines


def milliseconds(batch):
    return round(batch.timestamp() * 1000)


def written(milliseconds):
    """A time, as Wasmill writes it in JSON."""
    return datetime.fromtimestamp(milliseconds // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Case:
    """A case that is being run by Spark."""

    def __init__(self, context, folder):
        self.folder = folder
        self.ssc = StreamingContext(context, INTERVAL / 1000)
        self.last = 0
        for path in folder.glob("input/**/*"):
            if path.stem.isdigit():
                self.last = max(self.last, int(path.stem))
        assert self.last and self.last % INTERVAL == 0, f"{folder.name} has no batches, or of other times"

    def stream(self, name):
        """The batches of a `queue` source."""
        batches = {int(path.stem): path for path in (self.folder / name).iterdir()}
        assert all(time % INTERVAL == 0 for time in batches), f"{name} has a batch that is not of Spark's times"
        times = range(INTERVAL, self.last + INTERVAL, INTERVAL)
        records = [read(batches[time]) if time in batches else [] for time in times]
        # In one partition, so that what depends on the order of the rows has that of the file.
        return self.ssc.queueStream([self.ssc.sparkContext.parallelize(batch, 1) for batch in records])

    def windowed(self, length, rows):
        """The rows of windows with their bounds, which Wasmill has in two columns: Spark's window ends at its batch."""

        def bounded(batch, rdd):
            end = milliseconds(batch)
            bounds = {"window_start": written(end - length * 1000), "window_end": written(end)}
            return rdd.map(lambda row: {**bounds, **row})

        return rows.transform(bounded)

    def running_count(self, words):
        """`mapWithState`, of Spark's Java API."""

        def as_bytes(rdd):
            encoded = rdd.map(lambda word: word.encode())
            encoded._bypass_serializer = True
            return encoded

        jvm = self.ssc._jvm
        strings = words.transform(as_bytes)._jdstream.map(jvm.org.apache.spark.api.python.BytesToString())
        counted = DStream(jvm.RunningCount.of(strings), self.ssc, UTF8Deserializer())
        return counted.map(lambda count: (count.split()[0], int(count.split()[1])))

    def run(self, sinks):
        """Runs all batches; answers the lines of `spark.jsonl`."""
        lines = []
        done = []

        def collect(sink):
            def collect(batch, rdd):
                for row in rdd.collect():
                    row = {name: value for name, value in row.items() if value is not None}
                    lines.append({"time": milliseconds(batch), "sink": sink, "row": row})

            return collect

        for sink, rows in sinks.items():
            rows.foreachRDD(collect(sink))
        # The outputs of a batch are computed in the order they are asked for: after the last, the batch is done.
        tick = self.ssc.queueStream([self.ssc.sparkContext.parallelize([], 1)])
        tick.foreachRDD(lambda batch, _: done.append(milliseconds(batch)))
        with tempfile.TemporaryDirectory() as checkpoint:
            self.ssc.checkpoint(checkpoint)
            self.ssc.start()
            clock = self.ssc._jssc.ssc().scheduler().clock()
            for batch in range(INTERVAL, self.last + INTERVAL, INTERVAL):
                clock.advance(INTERVAL)
                while batch not in done:
                    self.ssc.awaitTerminationOrTimeout(0.02)
            self.ssc.stop(stopSparkContext=False, stopGraceFully=False)
        assert done == sorted(done)
        lines = [json.dumps(line, ensure_ascii=False) for line in lines]
        return sorted(lines, key=lambda line: (json.loads(line)["time"], line))


def main(names):
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        sys.exit(f"no program for {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    with tempfile.TemporaryDirectory() as classes:
        source = Path(classes, "RunningCount.java")
        source.write_text(RUNNING_COUNT)
        jars = f"{Path(pyspark.__file__).parent}/jars/*"
        subprocess.run(["javac", "-cp", jars, "-d", classes, source], check=True)
        conf = SparkConf().setMaster("local[1]").setAppName("oracle")
        conf.set("spark.ui.enabled", "false").set("spark.default.parallelism", "2")
        conf.set("spark.streaming.clock", "org.apache.spark.util.ManualClock")
        conf.set("spark.driver.extraClassPath", classes)
        context = SparkContext(conf=conf)
        context.setLogLevel("ERROR")
        for name in names or PROGRAMS:
            started = time.monotonic()
            case = Case(context, GOLDEN / name)
            lines = case.run(PROGRAMS[name](case))
            (case.folder / "spark.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            print(f"{name}: {len(lines)} rows in {time.monotonic() - started:.0f} s", flush=True)
        context.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
