/* Numbers as texts, as JSON has them. */
#ifndef WASMILL_VALUE_H
#define WASMILL_VALUE_H

#include <wasmill.h>

/* Exactly, or not at all. */
bool wm_decimal_parse(wm_text text, uint8_t precision, uint8_t scale, wm_decimal *decimal);
wm_text wm_int64_text(int64_t value);
/* The shortest text that is read as the same number; the number must be finite. */
wm_text wm_float_text(double value);

#endif
