/* Splitting text, 64 bytes at once. */
#include "sdk.h"

#define BLOCK 64

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>

/* A bit for each of the bytes, the first the least significant: set unless it is a blank, a tab, or a line or page end. */
static uint64_t of_words(const char *bytes)
{
    uint64_t words = 0;
    for (int lane = 0; lane < BLOCK / 16; lane++) {
        v128_t piece = wasm_v128_load(bytes + 16 * lane);
        v128_t control = wasm_u8x16_le(wasm_i8x16_sub(piece, wasm_i8x16_splat('\t')), wasm_i8x16_splat('\r' - '\t'));
        v128_t space = wasm_v128_or(wasm_v128_andnot(control, wasm_i8x16_eq(piece, wasm_i8x16_splat('\v'))),
                                    wasm_i8x16_eq(piece, wasm_i8x16_splat(' ')));
        words |= (uint64_t)(uint16_t)~wasm_i8x16_bitmask(space) << 16 * lane;
    }
    return words;
}
#else
static uint64_t of_words(const char *bytes)
{
    uint64_t words = 0;
    for (int at = 0; at < BLOCK; at++) {
        bool space = bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r' && bytes[at] != '\v');
        words |= (uint64_t)!space << at;
    }
    return words;
}
#endif

/* The bits of the block that begins here, without those at the end and after. */
static uint64_t look(const char *block, const char *end)
{
    size_t left = (size_t)(end - block);
    if (left >= BLOCK) return of_words(block);
    uint64_t within = ~(~(uint64_t)0 << left);
    if ((uintptr_t)block - wm_call_memory.start < wm_call_memory.length) return of_words(block) & within;
    char copy[BLOCK];
    memset(copy, ' ', BLOCK);
    memcpy(copy, block, left);
    return of_words(copy);
}

wm_words wm_split(wm_text text)
{
    const char *end = text.data + text.length;
    return (wm_words){ .block = text.data, .end = end, .ahead = text.length == 0 ? 0 : look(text.data, end) };
}

/* The next block has the rest of the word, or its beginning. */
bool wm_next_word_slow(wm_words *words)
{
    while (words->ahead == 0) {
        if (words->end - words->block <= BLOCK) return false;
        words->block += BLOCK;
        words->ahead = look(words->block, words->end);
    }
    const char *start = words->block + __builtin_ctzll(words->ahead);
    uint64_t spaces = ~words->ahead & ~(uint64_t)0 << (start - words->block);
    while (spaces == 0) {
        if (words->end - words->block <= BLOCK) {
            words->ahead = 0;
            words->word = (wm_text){ start, (size_t)(words->end - start) };
            return true;
        }
        words->block += BLOCK;
        words->ahead = look(words->block, words->end);
        spaces = ~words->ahead;
    }
    unsigned length = (unsigned)__builtin_ctzll(spaces);
    words->ahead &= ~(uint64_t)0 << length;
    words->word = (wm_text){ start, (size_t)(words->block + length - start) };
    return true;
}
