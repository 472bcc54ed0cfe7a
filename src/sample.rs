//! The sample services A, B, C and their load.
