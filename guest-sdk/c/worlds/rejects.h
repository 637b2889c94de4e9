/* Rejected rows in an answer; for worlds that reject row by row. */
static inline EXPORT(rejects_t) rejects_of(const wm_rejects *rejects)
{
    return (EXPORT(rejects_t)){
        .rows = { (uint32_t *)rejects->rows, rejects->count },
        .reasons = { BYTES(rejects->reasons.validity), BYTES(rejects->reasons.offsets), BYTES(rejects->reasons.data) },
    };
}
