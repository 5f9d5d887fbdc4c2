//! The report as one web page that needs nothing from elsewhere.

use super::results::Results;

/// The page.
pub fn page(_results: &Results) -> String {
    String::new()
}
