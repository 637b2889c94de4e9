/* Memory that nobody frees piece by piece: that of a call goes when the next begins, that of an instance when it closes. */
#include <stdlib.h>

#include "sdk.h"

#define ALIGNMENT 16            /* of a decimal, the widest value */
#define SLACK 64                /* bytes past the end of anything that wide loads and stores may touch */
#define FIRST_CHUNK (256 * 1024)

struct wm_chunk {
    struct wm_chunk *before;
    size_t size, used;
    _Alignas(ALIGNMENT) uint8_t bytes[];
};

struct wm_span wm_call_memory;
wm_arena *wm_keeper;
static wm_arena call_arena, other_arena;   /* the other is that of requests, and while one is sent that of the call */
static bool over, other_over;

static struct wm_chunk *add_chunk(wm_arena *arena, size_t size)
{
    struct wm_chunk *chunk = malloc(sizeof *chunk + size + SLACK);
    if (chunk == NULL) wm_panic("out of memory: %zu bytes were asked for", size);
    *chunk = (struct wm_chunk){ .before = arena->chunks, .size = size };
    arena->chunks = chunk;
    return chunk;
}

void *wm_arena_take(wm_arena *arena, size_t size)
{
    struct wm_chunk *chunk = arena->chunks;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t least = chunk == NULL ? 0 : chunk->size;
        chunk = add_chunk(arena, size > least ? size : least);
    }
    void *taken = chunk->bytes + chunk->used;
    chunk->used += size;
    return taken;
}

void wm_arena_free(wm_arena *arena)
{
    while (arena->chunks != NULL) {
        struct wm_chunk *before = arena->chunks->before;
        free(arena->chunks);
        arena->chunks = before;
    }
}

/* Wide loads are safe in all of a WebAssembly memory but its last bytes; elsewhere in the chunk in use. */
static void note_memory(void)
{
#ifdef __wasm__
    wm_call_memory.length = __builtin_wasm_memory_size(0) * 65536 - SLACK;
#else
    wm_call_memory = (struct wm_span){ (uintptr_t)call_arena.chunks->bytes, call_arena.chunks->size };
#endif
}

/* One chunk as large as all before together, so that calls of a size need one. */
static void begin_call(void)
{
    over = false;
    size_t size = 0;
    for (struct wm_chunk *chunk = call_arena.chunks; chunk != NULL; chunk = chunk->before) size += chunk->size;
    if (call_arena.chunks != NULL && call_arena.chunks->before == NULL) {
#ifndef __wasm__
        memset(call_arena.chunks->bytes, 0xdd, call_arena.chunks->used); /* so that a test sees who still looks at it */
#endif
        call_arena.chunks->used = 0;
        return;
    }
    wm_arena_free(&call_arena);
    add_chunk(&call_arena, size > FIRST_CHUNK ? size : FIRST_CHUNK);
    note_memory();
}

void *wm_take(size_t size)
{
    if (WM_UNLIKELY(over || call_arena.chunks == NULL)) begin_call();
    struct wm_chunk *chunk = call_arena.chunks;
    void *taken = wm_arena_take(&call_arena, size);
    if (WM_UNLIKELY(call_arena.chunks != chunk)) note_memory();
    return taken;
}

void wm_call_ends(void)
{
    over = true;
}

static void swap_memory(void)
{
    wm_arena arena = call_arena;
    bool was_over = over;
    call_arena = other_arena;
    over = other_over;
    other_arena = arena;
    other_over = was_over;
    if (call_arena.chunks != NULL) note_memory();
}

void wm_begin_request(void)
{
    other_over = true;
    swap_memory();
}

bool wm_end_request(bool ok)
{
    swap_memory();
    if (!ok) wm_last_error.message.data = wm_copy(wm_last_error.message.data, wm_last_error.message.length);
    return ok;
}

void *wm_alloc(size_t size)
{
    return memset(wm_take(size), 0, size);
}

void *wm_copy(const void *from, size_t size)
{
    return size == 0 ? wm_take(0) : memcpy(wm_take(size), from, size);
}

void *wm_keep(size_t size)
{
    if (wm_keeper == NULL) wm_panic("wm_keep is for `open`, `begin` and what follows, not for a plan or a migration");
    return memset(wm_arena_take(wm_keeper, size), 0, size);
}

wm_text wm_keep_text(wm_text text)
{
    char *kept = wm_keep(text.length + 1);
    if (text.length > 0) memcpy(kept, text.data, text.length);
    return (wm_text){ kept, text.length };
}
