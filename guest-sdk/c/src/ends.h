/* Where groups of rows end; a group begins where the one before it ends. */
#ifndef WASMILL_ENDS_H
#define WASMILL_ENDS_H

#include <wasmill.h>

typedef struct { const uint32_t *ends; uint32_t count; } wm_ends;

static inline wm_ends wm_ends_of(wm_bytes bytes)
{
    return (wm_ends){ (const uint32_t *)(const void *)bytes.data, (uint32_t)(bytes.length / 4) };
}

static inline uint32_t wm_end_of_all(wm_ends ends) { return ends.count == 0 ? 0 : ends.ends[ends.count - 1]; }

static inline struct wm_range wm_group_at(wm_ends ends, uint32_t group)
{
    return (struct wm_range){ group == 0 ? 0 : ends.ends[group - 1], ends.ends[group] };
}

#endif
