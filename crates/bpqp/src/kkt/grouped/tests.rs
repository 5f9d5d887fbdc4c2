use super::PivotError;
use crate::kkt::ldl::{Ldl, LdlPattern};
use bpqp_testkit::Rng;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::sparse::linalg::cholesky::{SymbolicCholeskyRaw, simplicial};
use std::sync::Arc;

/// `[D C'; C -E]` with n diagonal entries and m rows of C with this many entries each, beside a chain among the rows.
fn saddle(n: usize, m: usize, entries: usize, chain: bool, rng: &mut Rng) -> (Ldl, Vec<usize>) {
    let (mut pointers, mut rows) = (vec![0], Vec::new());
    for j in 0..n + m {
        let mut own = vec![j];
        if j >= n {
            own.extend((0..entries).map(|_| rng.below(n)));
            own.extend((chain && j > n).then(|| j - 1));
        }
        own.sort_unstable();
        own.dedup();
        rows.extend(own);
        pointers.push(rows.len());
    }
    let first = (!chain).then_some(n);
    let (pattern, position) = LdlPattern::new(n + m, &pointers, &rows, first).expect("small");
    let mut ldl = Ldl::new(&Arc::new(pattern)).expect("small");
    let mut diagonal = vec![0; n + m];
    for j in 0..n + m {
        for k in pointers[j]..pointers[j + 1] {
            let sign = if j < n { 1.0 } else { -1.0 };
            ldl.values_mut()[position[k]] = if rows[k] == j { sign * (1.0 + rng.uniform()) } else { rng.normal() };
            if rows[k] == j {
                diagonal[j] = position[k];
            }
        }
    }
    (ldl, diagonal)
}

#[test]
fn groups_are_the_factors_of_faer_and_solve_and_so_do_trimmed_leaves() {
    let mut rng = Rng::new(3);
    for (n, m, entries, chain) in [
        (1, 0, 0, false),
        (30, 8, 3, false),
        (30, 8, 3, true),
        (200, 60, 4, false),
        (40, 60, 2, false),
        (60, 90, 3, true),
        (5, 30, 2, true),
        (30, 20, 12, false),
    ] {
        let (mut ldl, _) = saddle(n, m, entries, chain, &mut rng);
        ldl.factor().expect("quasi-definite");
        let (symbolic, a, ours) = ldl.parts();
        // what was trimmed has no factor of the whole
        if !ours.is_empty() {
            let SymbolicCholeskyRaw::Simplicial(s) = symbolic.raw() else { panic!("small") };
            let mut theirs = vec![0.0; ours.len()];
            let scratch = symbolic.factorize_numeric_ldlt_scratch::<f64>(faer::Par::Seq, Default::default());
            let mut memory = MemBuffer::new(scratch);
            let stack = MemStack::new(&mut memory);
            simplicial::factorize_simplicial_numeric_ldlt(&mut theirs, a, Default::default(), s, stack)
                .expect("definite");
            let off = ours.iter().zip(&theirs).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs() / (1.0 + b.abs())));
            assert!(off < 1e-12, "{n} {m} {entries} {chain}: {off:.1e}");
        }

        let values = a.val().to_vec();
        let b: Vec<f64> = (0..n + m).map(|_| rng.normal()).collect();
        let (mut x, mut r) = (b.clone(), b);
        ldl.solve(&mut x);
        ldl.subtract_product(&values, &x, &mut r);
        let left = r.iter().fold(0.0_f64, |m, r| m.max(r.abs()));
        assert!(left < 1e-11, "{n} {m} {entries} {chain}: {left:.1e}");
    }
}

#[test]
fn a_zero_pivot_is_told_and_leaves_nothing_behind() {
    let mut rng = Rng::new(4);
    for chain in [false, true] {
        let (mut ldl, diagonal) = saddle(30, 8, 3, chain, &mut rng);
        ldl.factor().expect("quasi-definite");
        let b: Vec<f64> = (0..38).map(|_| rng.normal()).collect();
        let solution = |ldl: &mut Ldl| {
            let mut x = b.clone();
            ldl.solve(&mut x);
            x
        };
        let whole = solution(&mut ldl);
        for at in diagonal {
            let kept = std::mem::take(&mut ldl.values_mut()[at]);
            // a later pivot is zero only by chance, a leaf's always
            assert!(matches!(ldl.factor(), Ok(_) | Err(PivotError::Zero)));
            ldl.values_mut()[at] = f64::NAN;
            assert_eq!(ldl.factor().err(), Some(PivotError::NotFinite));
            ldl.values_mut()[at] = kept;
            ldl.factor().expect("quasi-definite");
            assert_eq!(solution(&mut ldl), whole);
        }
    }
}
