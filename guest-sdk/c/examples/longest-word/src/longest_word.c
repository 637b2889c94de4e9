/*
 * Reduces words to the longest, of several the first.
 *
 *     [steps.longest]
 *     input = "words"
 *     plugin = "longest-word"
 *     group_by = ["line"]
 *
 * It reads the column that `column` names, else `word`, else the first text column; the result has that column. Length is counted in
 * characters.
 *
 * First lesson on reducers: a function of two rows that leaves one, and does not care where the rows are cut. The word that comes out
 * is a piece of the batch that came in. There is no inverse: when the longest word is gone, nobody knows the second.
 */
#include <wasmill.h>

struct row {
    wm_text word;
};

static bool longer(void *state, void *total, const void *next)
{
    (void)state;
    struct row *a = total;
    const struct row *b = next;
    if (wm_text_characters(b->word) > wm_text_characters(a->word)) *a = *b;
    return true;
}

WASMILL_REDUCER(
    .row = WM_RECORD(struct row, WM_FIELD(struct row, word, .setting = "column", .or_first = true)),
    .reduce = longer,
);
