//! The repository checks itself: see `tests/`.
