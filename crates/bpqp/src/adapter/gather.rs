//! Gradients of a batch gathered into arrays: an entry for every instance, or their sum where the batch shares an argument.
//!
//! An instance writes its gradient where it was found, on whatever thread. What is to be summed is kept aside and added in
//! the order of the instances, so that the sum does not depend on the threads.

/// What has the numbers of a gradient, block by block.
pub trait Entries {
    /// Adds those of block number `block` to `out`: row-major, or in stored order where the block is sparse.
    fn add_to(&self, block: usize, out: &mut [f64]);
}

/// The gradients of one block.
struct Slot {
    values: Vec<f64>,
    summed: bool,
}

/// The gradients of `instances` with respect to `K` blocks, for one or several cotangents of each instance.
pub struct Gather<const K: usize> {
    slots: [Option<Slot>; K],
    instances: usize,
    cotangents: usize,
}

/// Where one block of an instance goes.
enum Part<'a> {
    Nowhere,
    Own(&'a mut [f64]),
    /// From here on in what is kept to be summed, so many numbers.
    Sum(usize, usize),
}

/// Where the gradients of one instance go.
pub struct Row<'a, const K: usize> {
    parts: [Part<'a>; K],
    cotangents: usize,
    /// Numbers to be summed.
    width: usize,
    kept: Vec<f64>,
}

/// What an instance adds to the sums.
pub struct Kept(Vec<f64>);

impl<const K: usize> Gather<K> {
    /// `blocks[k]`: how many numbers block k has, and whether the batch shares it; `None` where its gradient is not wanted.
    pub fn new(blocks: [Option<(usize, bool)>; K], instances: usize, cotangents: usize) -> Self {
        let slots = blocks.map(|block| {
            let (size, summed) = block?;
            let copies = if summed { cotangents } else { cotangents * instances };
            Some(Slot { values: vec![0.0; size * copies], summed })
        });
        Gather { slots, instances, cotangents }
    }

    /// Instances, and cotangents of each.
    pub fn lead(&self) -> (usize, usize) {
        (self.instances, self.cotangents)
    }

    /// True if block k is summed over the instances.
    pub fn summed(&self, k: usize) -> bool {
        self.slots[k].as_ref().is_some_and(|slot| slot.summed)
    }

    /// The places of every instance, in order.
    pub fn rows(&mut self) -> Vec<Row<'_, K>> {
        let Gather { slots, instances, cotangents } = self;
        let row = || Row {
            parts: std::array::from_fn(|_| Part::Nowhere),
            cotangents: *cotangents,
            width: 0,
            kept: Vec::new(),
        };
        let mut rows: Vec<Row<'_, K>> = (0..*instances).map(|_| row()).collect();
        let mut width = 0;
        for (k, slot) in slots.iter_mut().enumerate() {
            let Some(Slot { values, summed }) = slot else { continue };
            if values.is_empty() {
                continue;
            }
            if *summed {
                let size = values.len();
                rows.iter_mut().for_each(|row| row.parts[k] = Part::Sum(width, size));
                width += size;
            } else {
                let size = values.len() / *instances;
                for (row, own) in rows.iter_mut().zip(values.chunks_exact_mut(size)) {
                    row.parts[k] = Part::Own(own);
                }
            }
        }
        rows.iter_mut().for_each(|row| row.width = width);
        rows
    }

    /// Adds up what the instances kept, in order. Where an instance has no gradient, its numbers and the sums are filled with
    /// `absent(i)`, unless that is zero.
    pub fn finish(&mut self, kept: impl IntoIterator<Item = Option<Kept>>, absent: impl Fn(usize) -> f64) {
        let instances = self.instances;
        for (i, kept) in kept.into_iter().enumerate() {
            let blank = if kept.is_none() { absent(i) } else { 0.0 };
            let mut rest = kept.as_ref().map_or(&[][..], |kept| &kept.0);
            for Slot { values, summed } in self.slots.iter_mut().flatten() {
                let size = if *summed { values.len() } else { values.len() / instances };
                if kept.is_none() {
                    let own = if *summed { &mut values[..] } else { &mut values[i * size..(i + 1) * size] };
                    // what was written before it failed is no gradient, and what others add to a sum is
                    if !*summed || blank != 0.0 {
                        own.fill(blank);
                    }
                } else if *summed && !rest.is_empty() {
                    let (own, after) = rest.split_at(size);
                    values.iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
                    rest = after;
                }
            }
        }
    }

    /// The numbers of every block: of each instance and cotangent, or of each cotangent where they are summed.
    pub fn into_blocks(self) -> [Option<Vec<f64>>; K] {
        self.slots.map(|slot| slot.map(|slot| slot.values))
    }
}

impl<const K: usize> Row<'_, K> {
    /// Adds the gradient for cotangent `c`.
    pub fn add(&mut self, c: usize, gradient: &impl Entries) {
        let own = |size: usize| c * (size / self.cotangents)..(c + 1) * (size / self.cotangents);
        if self.kept.is_empty() {
            self.kept.resize(self.width, 0.0);
        }
        for (k, part) in self.parts.iter_mut().enumerate() {
            match part {
                Part::Nowhere => {}
                Part::Own(values) => {
                    let range = own(values.len());
                    gradient.add_to(k, &mut values[range]);
                }
                Part::Sum(from, size) => {
                    let range = own(*size);
                    gradient.add_to(k, &mut self.kept[*from..*from + *size][range]);
                }
            }
        }
    }

    /// What is to be summed; the rest is in its place.
    pub fn kept(self) -> Kept {
        Kept(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Of(f64);

    impl Entries for Of {
        fn add_to(&self, block: usize, out: &mut [f64]) {
            out.iter_mut().enumerate().for_each(|(i, o)| *o += self.0 * (1 + i + 10 * block) as f64);
        }
    }

    #[test]
    fn own_blocks_stay_apart_shared_ones_are_summed_and_failures_are_seen() {
        let blocks = [Some((2, false)), None, Some((1, true))];
        let gathered = |absent: f64| {
            let mut gather = Gather::new(blocks, 3, 2);
            let mut kept = Vec::new();
            for (i, mut row) in gather.rows().into_iter().enumerate() {
                row.add(0, &Of(1.0));
                if i == 1 {
                    // the second cotangent has none
                    kept.push(None);
                    continue;
                }
                row.add(1, &Of(10.0));
                kept.push(Some(row.kept()));
            }
            gather.finish(kept, |_| absent);
            gather.into_blocks()
        };
        let [own, nothing, sum] = gathered(0.0);
        assert_eq!(own.as_deref(), Some(&[1.0, 2.0, 10.0, 20.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 10.0, 20.0][..]));
        assert_eq!((nothing, sum.as_deref()), (None, Some(&[42.0, 420.0][..])));
        let [own, _, sum] = gathered(f64::NAN);
        assert!(sum.is_some_and(|sum| sum.iter().all(|v| v.is_nan())));
        assert!(own.is_some_and(|own| own[4..8].iter().all(|v| v.is_nan()) && own[8] == 1.0));
    }
}
