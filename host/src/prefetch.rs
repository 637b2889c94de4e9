//! Asks for memory before it is needed.

/// Asks for the first bytes of a value without waiting for them.
#[inline(always)]
pub fn prefetch<T: Copy>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(
            unsafe_code,
            reason = "the standard library has no safe way to say this"
        )]
        // SAFETY: a hint, which reads nothing and cannot fault.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
        }
    }
    // Elsewhere an early look is as good as can be had: it overlaps with others of its kind.
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(*value);
}
