/*
 * Writes each row as a JSON object to the pipeline's log, at level info.
 *
 *     [sinks.seen]
 *     input = "words"
 *     type = "plugin"
 *     plugin = "sink-log"
 *
 * An epoch that is written again is logged again: the sink promises no more than at least once.
 *
 * First lesson on sinks: without `begin`, `prepare` and `commit` there is nothing but `write`, which gets the chunks of a partition.
 */
#include <wasmill.h>

static bool write(wm_call *call)
{
    for (uint32_t row = 0; row < call->input.rows; row++) {
        wm_log_text(WM_INFO, wm_row_json(&call->input, row));
    }
    return true;
}

WASMILL_SINK(
    .delivery = WM_AT_LEAST_ONCE,
    .write = write,
);
