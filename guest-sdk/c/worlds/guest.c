/* What a component has and a native test has not: where the host puts arguments, and a libc that asks nobody but the host's log. */
#include "../src/sdk.h"

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size);

void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size)
{
    (void)align; /* at most 8, and wm_take gives 16 */
    void *taken = wm_take(size);
    return old_size == 0 ? taken : memcpy(taken, old, old_size < size ? old_size : size);
}

/* wasi-libc reaches the outside through these imports. Here they are functions of the component, so printf and assert write
 * to the log, and nothing is imported. A plugin that opens a file or reads a clock still imports WASI, and the host refuses it. */
#define WASI(name) __asm__("__imported_wasi_snapshot_preview1_" name)

enum { SUCCESS = 0, NOT_SEEKABLE = 70, CHARACTER_DEVICE = 2, STANDARD_ERROR = 2, FDSTAT_SIZE = 24 };
typedef struct { const char *data; size_t length; } ciovec;

int32_t wasi_fd_write(int32_t fd, const ciovec *pieces, size_t count, size_t *written) WASI("fd_write");
int32_t wasi_fd_seek(int32_t fd, int64_t offset, int32_t whence, int64_t *position) WASI("fd_seek");
int32_t wasi_fd_close(int32_t fd) WASI("fd_close");
int32_t wasi_fd_fdstat_get(int32_t fd, uint8_t *stat) WASI("fd_fdstat_get");

/* Says that it is a terminal, so that libc passes line by line on. */
int32_t wasi_fd_fdstat_get(int32_t fd, uint8_t *stat)
{
    (void)fd;
    memset(stat, 0, FDSTAT_SIZE);
    stat[0] = CHARACTER_DEVICE;
    return SUCCESS;
}

int32_t wasi_fd_seek(int32_t fd, int64_t offset, int32_t whence, int64_t *position)
{
    (void)fd, (void)offset, (void)whence, (void)position;
    return NOT_SEEKABLE;
}

int32_t wasi_fd_close(int32_t fd)
{
    (void)fd;
    return SUCCESS;
}

/* Where the linker optimises, it takes libc's own for used, and that asks WASI for a random number. */
uintptr_t __stack_chk_guard = (uintptr_t)0x7a3c51e9;

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void) { wm_panic("the stack is damaged"); }

/* A line of the log for each line; what does not end in one waits. */
int32_t wasi_fd_write(int32_t fd, const ciovec *pieces, size_t count, size_t *written)
{
    static char line[1024];
    static size_t length;
    *written = 0;
    for (size_t piece = 0; piece < count; piece++) {
        *written += pieces[piece].length;
        for (size_t at = 0; at < pieces[piece].length; at++) {
            char byte = pieces[piece].data[at];
            if (byte != '\n') line[length++] = byte;
            if (byte != '\n' && length < sizeof line) continue;
            if (!wm_silent) wm_host_log(fd == STANDARD_ERROR ? WM_ERROR : WM_INFO, line, length);
            length = 0;
        }
    }
    return SUCCESS;
}
