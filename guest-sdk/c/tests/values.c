/* Words, dates, floats and JSON, against slow twins or by going there and back. */
#include <stdio.h>
#include <stdlib.h>

#include <wasmill/testing.h>

static bool is_space(char c) { return c != 0 && strchr(" \t\n\r\f", c) != NULL; }

static void same_words(const char *text, size_t length)
{
    wm_words words = wm_split((wm_text){ text, length });
    for (size_t at = 0; at < length;) {
        while (at < length && is_space(text[at])) at++;
        size_t end = at;
        while (end < length && !is_space(text[end])) end++;
        if (end == at) break;
        bool right = wm_next_word(&words) && words.word.data == text + at && words.word.length == end - at;
        if (!right) fprintf(stderr, "%.*s at %zu\n", (int)length, text, at);
        WM_EXPECT(right);
        at = end;
    }
    WM_EXPECT(!wm_next_word(&words));
}

WM_TEST(words_are_those_of_a_slow_loop)
{
    static const char *const pieces[] = { " ", "\t", "\r\n", "\f", "      ", "a", "be", "\u00e9t\u00e9", "\v", "thirteen-bytes", "\u00a0x",
                                          "sixty-four-bytes-and-more-so-that-a-word-begins-and-ends-in-other-blocks" };
    for (unsigned seed = 0; seed < 1000; seed++) {
        char text[2048] = "";
        size_t count = seed % 40, length = 0;
        srand(seed);
        while (count-- > 0) length += (size_t)snprintf(text + length, sizeof text - length, "%s", pieces[(size_t)rand() % 12]);
        char *exact = malloc(length + 1); /* so that a sanitizer sees who reads beyond */
        memcpy(exact, text, length);
        same_words(exact, length);
        free(exact);
        size_t start = length == 0 ? 0 : (size_t)rand() % length;
        char *within = wm_alloc(length + 1);
        memcpy(within, text, length);
        same_words(within + start, (size_t)rand() % (length - start + 1));
    }
}

WM_TEST(every_day_survives_the_calendar)
{
    for (int32_t days = -719000; days < 2900000; days += 13) {
        wm_date date;
        wm_text text = wm_date_text((wm_date){ days });
        WM_EXPECT(wm_date_parse(text, &date) && date.days == days);
    }
    wm_date day;
    WM_EXPECT(wm_date_from_ymd(2000, 2, 29, &day) && day.days == 11016);
    WM_EXPECT(!wm_date_from_ymd(1900, 2, 29, &day));
}

static wm_text number_text(int64_t value)
{
    wm_field field = { .name = wm_text_of("x"), .type = WM_INT64 };
    wm_buffers buffers = { .data = { (const uint8_t *)&value, sizeof value } };
    wm_batch batch = { .rows = 1, .width = 1, .fields = &field, .columns = &buffers };
    return wm_row_json(&batch, 0);
}

WM_TEST(integers_and_times_are_written_as_printf_writes_them)
{
    srand(2);
    for (int round = 0; round < 20000; round++) {
        int64_t value = (int64_t)((uint64_t)rand() << 33 ^ (uint64_t)rand() << 12 ^ (uint64_t)rand()) >> rand() % 64;
        if (round < 2) value = round == 0 ? INT64_MIN : INT64_MAX;
        WM_EXPECT(wm_text_equal(number_text(value), wm_format("{\"x\":%lld}", (long long)value)));
        int64_t second = rand() % 86400;
        int micros = rand() % 3 == 0 ? 0 : rand() % 3 == 0 ? rand() % 1000 * 1000 : rand() % 1000000;
        int32_t days = rand() % 3000000 - 500000;
        wm_text day = wm_date_text((wm_date){ days }), time = wm_timestamp_text((wm_timestamp){ (days * INT64_C(86400) + second) * 1000000 + micros });
        wm_text fraction = micros == 0 ? wm_text_of("") : micros % 1000 == 0 ? wm_format(".%03d", micros / 1000) : wm_format(".%06d", micros);
        wm_text expected = wm_format("%.*sT%02d:%02d:%02d%.*sZ", WM_ARG(day), (int)second / 3600, (int)second / 60 % 60, (int)second % 60, WM_ARG(fraction));
        WM_EXPECT(wm_text_equal(time, expected));
    }
}

WM_TEST(a_float_is_the_shortest_that_is_read_as_it)
{
    static const char *const texts[] = { "0.1", "27.0", "1e16", "1000000000000000.0", "9007199254740993.0", "1e-5", "0.00001234", "5e-324", "1.7976931348623157e308",
                                         "0.30000000000000004", "-0.0", "123456.789", "1.234e-7", "0.0001" };
    static const char *const written[] = { "0.1", "27.0", "1e16", "1000000000000000.0", "9007199254740992.0", "0.00001", "0.00001234", "5e-324", "1.7976931348623157e308",
                                           "0.30000000000000004", "-0.0", "123456.789", "1.234e-7", "0.0001" };
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) {
        double value = strtod(texts[at], NULL);
        wm_field field = { .name = wm_text_of("x"), .type = WM_FLOAT64 };
        wm_buffers buffers = { .data = { (const uint8_t *)&value, sizeof value } };
        wm_batch batch = { .rows = 1, .width = 1, .fields = &field, .columns = &buffers };
        wm_text expected = wm_format("{\"x\":%s}", written[at]), found = wm_row_json(&batch, 0);
        if (!wm_text_equal(expected, found)) fprintf(stderr, "expected %.*s, found %.*s\n", WM_ARG(expected), WM_ARG(found));
        WM_EXPECT(wm_text_equal(expected, found));
    }
}

WM_TEST(a_short_float_is_read_as_strtod_reads_it)
{
    srand(1);
    for (int round = 0; round < 200000; round++) {
        char text[64];
        size_t length = 0;
        int whole = 1 + rand() % 18, after = rand() % 25;
        if (rand() % 2) text[length++] = '-';
        while (whole-- > 0) text[length++] = (char)('0' + rand() % 10);
        if (after > 0) text[length++] = '.';
        while (after-- > 0) text[length++] = (char)('0' + (rand() % 3 ? rand() % 10 : 0));
        text[length] = 0;
        double expected = strtod(text, NULL), found;
        bool same = wm_json_float64((wm_json){ text, length }, &found) && memcmp(&expected, &found, sizeof found) == 0;
        if (!same) fprintf(stderr, "%s\n", text);
        WM_EXPECT(same);
    }
}

WM_TEST(of_members_with_one_name_the_last_counts)
{
    wm_members members;
    wm_text why, text;
    WM_EXPECT(wm_json_members(wm_text_of(" {\"b\":1, \"\\u0061\" : [1, {\"x\":2}] ,\"b\":\"\\ud83d\\ude00\\n\"} "), &members, &why));
    WM_EXPECT(members.count == 3 && wm_json_sorted(members).count == 2);
    wm_json list = wm_json_member(members, wm_text_of("a"))->value;
    WM_EXPECT(wm_text_equal((wm_text){ list.data, list.length }, wm_text_of("[1, {\"x\":2}]")));
    WM_EXPECT(wm_json_text(wm_json_member(members, wm_text_of("b"))->value, &text) && wm_text_equal(text, wm_text_of("\U0001f600\n")));
    WM_EXPECT(wm_json_member(members, wm_text_of("c")) == NULL);
}
