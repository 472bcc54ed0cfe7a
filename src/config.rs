//! Configuration: as written, as used.
