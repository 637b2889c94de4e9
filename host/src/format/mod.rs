//! Record formats: bytes to Arrow and back.
