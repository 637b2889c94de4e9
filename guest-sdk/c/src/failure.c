/* Errors of a call, lines for the log, texts made for either. */
#include <stdio.h>
#include <stdlib.h>

#include "sdk.h"

wm_error wm_last_error;
bool wm_silent;

wm_text wm_vformat(const char *format, va_list arguments)
{
    char most[256]; /* texts are as short; a longer one is made twice */
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(most, sizeof most, format, arguments);
    if (length < 0) wm_panic("`%s` cannot be formatted", format);
    bool whole = (size_t)length < sizeof most;
    char *text = whole ? wm_copy(most, (size_t)length + 1) : wm_take((size_t)length + 1);
    if (!whole) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return (wm_text){ text, (size_t)length };
}

#define FORMATTED(text, format) \
    va_list arguments; \
    va_start(arguments, format); \
    wm_text text = wm_vformat(format, arguments); \
    va_end(arguments)

wm_text wm_format(const char *format, ...)
{
    FORMATTED(text, format);
    return text;
}

void wm_log(wm_level level, const char *message, ...)
{
    if (wm_silent) return;
    FORMATTED(text, message);
    wm_log_text(level, text);
}

void wm_log_text(wm_level level, wm_text text)
{
    if (!wm_silent) wm_host_log(level, text.data, text.length);
}

void wm_panic(const char *message, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, message);
    int length = vsnprintf(text, sizeof text, message, arguments);
    va_end(arguments);
    if (!wm_silent && length > 0) wm_host_log(WM_ERROR, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    abort();
}

bool wm_fatal(const char *message, ...)
{
    FORMATTED(text, message);
    wm_last_error = (wm_error){ .kind = WM_ERROR_FATAL, .message = text };
    return false;
}

bool wm_retryable(uint32_t after_ms, const char *message, ...)
{
    FORMATTED(text, message);
    wm_last_error = (wm_error){ .kind = WM_ERROR_RETRYABLE, .message = text, .after_ms = after_ms };
    return false;
}

bool wm_rejected(const uint32_t *rows, size_t count, const char *message, ...)
{
    FORMATTED(text, message);
    wm_last_error = (wm_error){
        .kind = WM_ERROR_REJECTED, .message = text, .rows = wm_copy(rows, count * sizeof *rows), .row_count = count,
    };
    return false;
}
