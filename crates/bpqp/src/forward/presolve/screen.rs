//! A look at a program that is quick: two passes over its entries tell whether there is something to take out.

use super::parallel::{mixed, rounded, weight};
use super::search::HOLDS;
use crate::Qp;

/// What is known of a row after one pass.
#[derive(Clone, Copy, Default)]
struct Row {
    entries: u32,
    first: u32,
    pivot: f64,
    low: f64,
    high: f64,
    key: f64,
}

/// Rows and columns that one look finds to be superfluous. Rows of G with one entry do not count: they are bounds anyway.
pub(super) fn superfluous(qp: &Qp) -> usize {
    let m = qp.n_equality();
    let k = m + qp.n_inequality();
    let mut rows = vec![Row::default(); k];
    let mut fixed = 0;
    let (lb, ub) = (&qp.lb[..qp.n()], &qp.ub[..qp.n()]);
    (0..qp.n()).for_each(|j| fixed += usize::from(lb[j] == ub[j]));
    for (first, block) in [(0, &qp.a), (m, &qp.g)] {
        let Some(block) = super::rows::sparse(block) else { continue };
        let rows = &mut rows[first..];
        for j in 0..block.ncols() {
            let (lb, ub, weight) = (lb[j], ub[j], weight(j));
            for (i, v) in block.column(j) {
                let row = &mut rows[i];
                if v == 0.0 {
                    continue;
                }
                if row.entries == 0 {
                    (row.first, row.pivot) = (j as u32, v);
                }
                row.entries += 1;
                let (a, b) = (v * lb, v * ub);
                row.low += if v > 0.0 { a } else { b };
                row.high += if v > 0.0 { b } else { a };
                row.key += v * weight;
            }
        }
    }
    let mut found = fixed;
    for (i, row) in rows.iter().enumerate() {
        let equation = i < m;
        let rhs = if equation { qp.b[i] } else { qp.h[i - m] };
        let rest = HOLDS * rhs.abs();
        let forcing = row.low >= rhs - rest || (equation && row.high <= rhs + rest);
        found += match row.entries {
            0 => 1,
            1 => usize::from(equation),
            _ if forcing => 1 + row.entries as usize,
            _ => usize::from(!equation && (row.high <= rhs + rest || rhs == f64::INFINITY)),
        };
    }
    let rhs = |i: usize| if i < m { qp.b[i] } else { qp.h[i - m] };
    found + twins(&rows, m, rhs)
}

/// Rows of more than one entry that seem to be multiples of one before, but for the two sides of a range.
fn twins(rows: &[Row], m: usize, rhs: impl Fn(usize) -> f64) -> usize {
    let size = (2 * rows.len()).next_power_of_two();
    let mut table = vec![0_u32; size];
    let mut found = 0;
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.entries > 1) {
        let key = rounded(row.key / row.pivot);
        let hash = key ^ (u64::from(row.first) << 40) ^ (u64::from(row.entries) << 20);
        let mut at = mixed(hash) as usize & (size - 1);
        while table[at] != 0 {
            let before = table[at] as usize - 1;
            let other = &rows[before];
            if other.first == row.first && other.entries == row.entries && rounded(other.key / other.pivot) == key {
                let sides = before >= m && (row.pivot > 0.0) != (other.pivot > 0.0);
                let meet = || rounded(rhs(i) / row.pivot) == rounded(rhs(before) / other.pivot);
                found += usize::from(!sides || meet());
                break;
            }
            at = (at + 1) & (size - 1);
        }
        if table[at] == 0 {
            table[at] = i as u32 + 1;
        }
    }
    found
}
