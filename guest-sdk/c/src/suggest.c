/* The name that a misspelt one was probably meant to be. */
#include "sdk.h"

static uint32_t *points(wm_text text, size_t *count)
{
    uint32_t *points = wm_take(text.length * sizeof *points);
    *count = 0;
    for (size_t at = 0; at < text.length; at++) {
        uint8_t byte = (uint8_t)text.data[at];
        if ((byte & 0xc0) == 0x80 && *count > 0) points[*count - 1] = points[*count - 1] << 6 | (byte & 0x3f);
        else points[(*count)++] = byte;
    }
    return points;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to insert, remove, change or swap with the next to get from one to the other; three rows of the table at a time. */
static size_t distance(wm_text from, wm_text to)
{
    size_t n, m;
    uint32_t *a = points(from, &n), *b = points(to, &m);
    size_t *before = wm_alloc((m + 1) * sizeof *before), *last = wm_alloc((m + 1) * sizeof *last), *row = wm_alloc((m + 1) * sizeof *row);
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(last[j - 1] + (a[i - 1] != b[j - 1]), least(last[j], row[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[m];
}

/* Near is at most a third of the letters, or one. */
wm_text wm_nearest(wm_text word, const wm_text *known, size_t count)
{
    wm_text nearest = { 0 };
    size_t best = SIZE_MAX;
    for (size_t at = 0; at < count; at++) {
        size_t steps = distance(word, known[at]), most = wm_text_characters(known[at]) / 3;
        if (steps <= (most > 1 ? most : 1) && steps < best) {
            best = steps;
            nearest = known[at];
        }
    }
    return nearest;
}

wm_text wm_suggestion(wm_text word, const wm_text *known, size_t count)
{
    wm_text near = wm_nearest(word, known, count);
    return near.data == NULL ? wm_text_of("") : wm_format("; did you mean `%.*s`?", WM_ARG(near));
}
