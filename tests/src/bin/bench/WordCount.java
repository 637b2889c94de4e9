import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.split;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.CountDownLatch;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.VoidFunction2;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;
import org.apache.spark.streaming.Durations;
import org.apache.spark.streaming.api.java.JavaPairDStream;
import org.apache.spark.streaming.api.java.JavaStreamingContext;
import scala.Tuple2;

/**
 * Spark's word count over the files of a folder, again and again in one JVM; the first pass warms it up and is not timed.
 *
 * <p>Only the work on the batch is timed, not the start of Spark, of the context or of the query.
 */
public final class WordCount {
  private static final Pattern SPACE = Pattern.compile(" ");

  public static void main(String[] args) throws Exception {
    String input = args[1];
    String output = args[2];
    int passes = Integer.parseInt(args[3]);
    if (args[0].equals("dstream")) {
      dstream(input, output, passes);
    } else {
      structured(input, output, passes);
    }
  }

  private static void report(int pass, double seconds) {
    if (pass > 0) {
      System.out.println("pass took " + seconds);
    }
  }

  @SuppressWarnings("deprecation") // DStreams are
  /** One batch a pass, from a queue: the batches hold exactly the files, whatever the clock says. */
  private static void dstream(String input, String output, int passes) throws Exception {
    SparkConf conf = new SparkConf().setAppName("word-count");
    JavaStreamingContext context = new JavaStreamingContext(conf, Durations.seconds(1));
    context.sparkContext().setLogLevel("WARN");
    Queue<JavaRDD<String>> batches = new ArrayDeque<>();
    for (int pass = 0; pass <= passes; pass++) {
      batches.add(context.sparkContext().textFile(input));
    }
    JavaPairDStream<String, Long> counts =
        context
            .queueStream(batches, true)
            .flatMap(line -> Arrays.asList(SPACE.split(line)).iterator())
            .mapToPair(word -> new Tuple2<>(word, 1L))
            .reduceByKey(Long::sum);
    CountDownLatch left = new CountDownLatch(passes + 1);
    counts.foreachRDD(
        rdd -> {
          int pass = passes + 1 - (int) left.getCount();
          if (pass > passes) {
            return;
          }
          long start = System.nanoTime();
          rdd.map(count -> count._1 + "," + count._2).saveAsTextFile(output + "/" + pass);
          report(pass, (System.nanoTime() - start) / 1e9);
          left.countDown();
        });
    context.start();
    left.await();
    context.stop(true, false);
  }

  /** One query a pass, which takes what is there and ends. */
  private static void structured(String input, String output, int passes) throws Exception {
    SparkSession spark =
        SparkSession.builder()
            .appName("word-count")
            // Eight partitions of state, as Wasmill has; Spark's 200 would make it several times slower.
            .config("spark.sql.shuffle.partitions", "8")
            .getOrCreate();
    spark.sparkContext().setLogLevel("WARN");
    for (int pass = 0; pass <= passes; pass++) {
      String folder = output + "/" + pass;
      StreamingQuery query =
          spark
              .readStream()
              .text(input)
              .select(explode(split(col("value"), " ")).as("word"))
              .groupBy("word")
              .count()
              .writeStream()
              .outputMode("complete")
              .trigger(Trigger.AvailableNow())
              .option("checkpointLocation", output + "/checkpoint-" + pass)
              .foreachBatch((VoidFunction2<Dataset<Row>, Long>) (counts, id) -> counts.write().csv(folder))
              .start();
      query.awaitTermination();
      long millis = 0;
      for (var progress : query.recentProgress()) {
        millis += progress.durationMs().get("triggerExecution");
      }
      report(pass, millis / 1e3);
    }
    spark.stop();
  }
}
