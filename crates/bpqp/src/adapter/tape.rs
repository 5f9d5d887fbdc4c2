//! What the backward pass needs of a forward pass, and the gradients that it gives.

use super::{Arrays, BLOCKS, Block, Gather, OnFailure, Timing};
use crate::{Batch, Cotangent, Solution, Verdict, Wrt};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How a replaced block looks from outside.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Its shape, batch dimension included if it has one.
    pub shape: Vec<usize>,
    /// False if the batch shares the array.
    pub batched: bool,
    /// Is its gradient wanted?
    pub tracked: bool,
}

/// A solved batch, ready to be differentiated. It is cheap to clone, and may outlive the layer.
#[derive(Clone)]
pub struct Tape(pub(super) Arc<Solutions>);

pub(super) struct Solutions {
    /// `None` where the instance failed.
    pub solutions: Vec<Option<Solution>>,
    pub slots: [Option<Slot>; BLOCKS],
    /// Variables, equalities, inequalities.
    pub sizes: (usize, usize, usize),
    pub multipliers: bool,
    pub on_failure: OnFailure,
    /// Its threads do the backward pass too.
    pub batch: Arc<Mutex<Batch>>,
    pub timing: Arc<Mutex<Timing>>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("instances", &self.0.solutions.len()).field("sizes", &self.0.sizes).finish()
    }
}

pub(super) fn slots(arrays: &Arrays, batched: [bool; BLOCKS]) -> [Option<Slot>; BLOCKS] {
    std::array::from_fn(|k| {
        let array = arrays[k].as_ref()?;
        Some(Slot { shape: array.shape.clone(), batched: batched[k], tracked: array.tracked })
    })
}

impl Tape {
    /// True if the gradient of any array is wanted.
    pub fn tracked(&self) -> bool {
        self.0.slots.iter().flatten().any(|slot| slot.tracked)
    }

    /// The shape of the array that replaces a block, empty where none does.
    pub fn shape(&self, block: Block) -> &[usize] {
        self.0.slots[block as usize].as_ref().map_or(&[], |slot| &slot.shape)
    }

    /// The gradient of each array that is tracked, in its shape: summed over the batch where the batch shares it. `cotangent`
    /// has the shape of the outputs. For what has no gradient see [`OnFailure::absent`].
    pub fn gradients(&self, cotangent: &[f64]) -> [Option<Vec<f64>>; BLOCKS] {
        let started = Instant::now();
        let own = &*self.0;
        let width = cotangent.len() / own.solutions.len().max(1);
        let (solved, cotangents): (Vec<&Solution>, Vec<Cotangent>) = own
            .solutions
            .iter()
            .zip(cotangent.chunks_exact(width.max(1)))
            .filter_map(|(solution, row)| Some((solution.as_ref()?, own.cotangent(row))))
            .unzip();
        let wanted = |block: Block| own.slots[block as usize].as_ref().is_some_and(|slot| slot.tracked);
        let batch = own.batch.lock().unwrap_or_else(PoisonError::into_inner);
        // The lists have one length, the only thing that the call as a whole could refuse.
        let results = batch.vjp(&solved, &cotangents, wrt(wanted)).unwrap_or_default();
        drop(batch);

        let mut results = results.into_iter();
        let (mut refused, mut untrusted) = (0, 0);
        let mut gather = Gather::new(Block::ALL.map(|block| own.place(block)), own.solutions.len(), 1);
        let mut kept = Vec::with_capacity(own.solutions.len());
        for (mut row, solution) in gather.rows().into_iter().zip(&own.solutions) {
            kept.push(match solution.as_ref().and_then(|_| results.next()) {
                Some(Ok((gradient, verdict))) => {
                    untrusted += usize::from(verdict == Verdict::Untrusted);
                    row.add(0, &gradient);
                    Some(row.kept())
                }
                _ => {
                    refused += usize::from(solution.is_some());
                    None
                }
            });
        }
        let zero = |i: usize| cotangent[i * width..(i + 1) * width].iter().all(|&c| c == 0.0);
        gather.finish(kept, |i| own.on_failure.absent(zero(i)));
        let mut timing = own.timing.lock().unwrap_or_else(PoisonError::into_inner);
        timing.backward_seconds += started.elapsed().as_secs_f64();
        timing.backward_count += solved.len();
        timing.backward_refused += refused;
        timing.backward_untrusted += untrusted;
        gather.into_blocks()
    }
}

impl Solutions {
    /// The numbers of the gradient of a block, and whether the batch shares it; none where it is not wanted.
    fn place(&self, block: Block) -> Option<(usize, bool)> {
        let slot = self.slots[block as usize].as_ref().filter(|slot| slot.tracked)?;
        let own = if slot.batched { &slot.shape[1..] } else { &slot.shape[..] };
        Some((own.iter().product(), !slot.batched))
    }

    fn cotangent(&self, row: &[f64]) -> Cotangent {
        let (n, m, p) = self.sizes;
        let mut cotangent = Cotangent::x(&row[..n]);
        if self.multipliers {
            cotangent.y = row[n..n + m].to_vec();
            cotangent.z = row[n + m..n + m + p].to_vec();
            cotangent.z_box = row[n + m + p..].to_vec();
        }
        cotangent
    }
}

fn wrt(wanted: impl Fn(Block) -> bool) -> Wrt {
    let [p, q, a, b, g, h, lb, ub, d, f] = Block::ALL.map(wanted);
    Wrt { p: p || d || f, q, a, b, g, h, lb, ub, ..Wrt::NONE }
}
