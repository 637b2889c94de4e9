//! Columns across the boundary: Arrow arrays to the buffers of `wit/types.wit` and back.
//!
//! On the way in ([`Views`]) a column's own memory is handed to the guest's allocator call, so a byte is copied once, into the
//! guest. On the way out ([`lift()`]) the copies out of the guest become the array's memory, after they were checked:
//! nothing that a guest says about its buffers is believed.

mod lift;
mod lower;

pub(super) use lift::{Made, lift, reasons};
pub(super) use lower::{Asked, Views, params};

// Arrow's buffers are in the host's byte order, the contract's are little-endian.
#[cfg(target_endian = "big")]
compile_error!(
    "plugins exchange little-endian buffers that Arrow would read in this machine's order"
);
