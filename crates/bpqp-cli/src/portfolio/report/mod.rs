//! The report as one web page.

use super::results::Results;

/// The page.
pub fn page(_results: &Results) -> String {
    String::new()
}
