//! What a worker does: one search.

use fancy_regex::{Error, RegexBuilder};
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Search {
    pattern: String,
    text: String,
}

/// Where the matches begin and end, in bytes.
pub(crate) type Matches = Vec<(usize, usize)>;

/// Why a search came to nothing, though nothing ended it.
#[derive(Serialize, Deserialize)]
pub(crate) enum Problem {
    /// The pattern isn't one.
    Pattern(String),
    /// It is one that this text can't be searched by.
    Search(String),
}

/// Goes on for as long as it takes: that it ends is the pool's business.
pub(crate) fn find(search: Search) -> Result<Matches, Problem> {
    let regex = RegexBuilder::new(&search.pattern).backtrack_limit(usize::MAX).build();
    let regex = regex.map_err(|error| Problem::Pattern(error.to_string()))?;
    let matches = regex.find_iter(&search.text).map(|found| found.map(|found| (found.start(), found.end())));
    matches.collect::<Result<_, Error>>().map_err(|error| Problem::Search(error.to_string()))
}
