//! Broken files: random changes to good ones.

use crate::Rng;

/// Words in which readers stumble: sizes that overflow, numbers that are none, what opens and does not close.
const WORDS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "65536",
    "1000000",
    "1000000000",
    "10000000000",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "-1e308",
    "1e-320",
    "1e999",
    "nan",
    "inf",
    "null",
    "{",
    "[",
    "\"",
    "\n",
];

/// One of the files with some changes.
pub fn mutant(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut out = corpus[rng.below(corpus.len())].clone();
    for _ in 0..=rng.below(4) {
        change(&mut out, corpus, rng);
    }
    out
}

fn change(out: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(out.len() + 1);
    let end = (at + 1 + rng.below(12)).min(out.len());
    match rng.below(9) {
        // a byte
        0 if at < out.len() => out[at] ^= 1 << rng.below(8),
        1 if at < out.len() => out[at] = rng.below(256) as u8,
        // the end
        2 => out.truncate(at),
        // a piece less, or twice
        3 => drop(out.drain(at..end)),
        4 => {
            let piece = out[at..end].to_vec();
            out.splice(at..at, piece);
        }
        // a piece of another file
        5 => {
            let other = &corpus[rng.below(corpus.len())];
            let from = rng.below(other.len() + 1);
            let to = (from + rng.below(60)).min(other.len());
            out.splice(at..at, other[from..to].iter().copied());
        }
        // a line less, or twice
        6 => {
            let lines: Vec<&[u8]> = out.split_inclusive(|&b| b == b'\n').collect();
            let k = rng.below(lines.len().max(1));
            let again = rng.below(2) == 0;
            let kept = lines.iter().enumerate().flat_map(|(i, line)| {
                let times = if i == k { if again { 2 } else { 0 } } else { 1 };
                std::iter::repeat_n(*line, times)
            });
            *out = kept.flatten().copied().collect();
        }
        // a number
        _ => {
            let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'.');
            let Some(start) = (at..out.len()).find(|&k| number(&out[k])) else { return };
            let stop = (start..out.len()).find(|&k| !number(&out[k])).unwrap_or(out.len());
            out.splice(start..stop, WORDS[rng.below(WORDS.len())].bytes());
        }
    }
}
