/* Asks for everything that a plugin should not depend on, once a row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wasmill.h>

static wm_text text(const char *string) { return (wm_text){ string, strlen(string) }; }

static bool ask(wm_call *call)
{
    wm_port *out = &call->ports[0];
    for (uint32_t row = 0; row < call->input.rows; row++) {
        long long drawn = 0;
        struct timespec before, after;
        const char *home = getenv("HOME");
        FILE *file = fopen("/etc/passwd", "r");
        if (getentropy(&drawn, sizeof drawn)) return false;
        clock_gettime(CLOCK_MONOTONIC, &before);
        sleep(3600);
        clock_gettime(CLOCK_MONOTONIC, &after);
        printf("row %u\n", row);
        fflush(stdout);
        fprintf(stderr, "also of row %u\n", row);
        wm_push_int64(&out->columns[0], time(NULL));
        wm_push_int64(&out->columns[1], after.tv_sec - before.tv_sec);
        wm_push_int64(&out->columns[2], drawn);
        wm_push_text(&out->columns[3], text(home ? home : "nowhere"));
        wm_push_text(&out->columns[4], text(file ? "there" : "not there"));
        wm_emit(out, row);
    }
    return true;
}

WASMILL_TRANSFORM(
    .input = WM_COLUMNS({ "n", WM_INT64 }),
    .output = WM_COLUMNS({ "time", WM_INT64 }, { "slept", WM_INT64 }, { "drawn", WM_INT64 }, { "home", WM_UTF8 },
                         { "passwd", WM_UTF8 }),
    .process = ask,
);
