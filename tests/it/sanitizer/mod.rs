//! The sanitizer: it reports every planted mistake and nothing on correct programs, and where it is
//! silent caches make no difference.

mod kinds; // each kind of mistake, planted 1,000 times
mod machine;
