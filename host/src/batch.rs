//! Arrow helpers shared by every area.
