//! The arguments of a batch of problems as borrowed numbers, whoever owns them.

use crate::errors::Failure;
use crate::solutions::invalid;
use bpqp::{Csc, Error, Full, Gradient, Hessian, Matrix, Qp, Settings, Solution, Tangent};
use faer::{Mat, MatRef};

/// An asymmetry of `P` up to this multiple of its largest entry is rounding in single precision.
const SINGLE_ASYMMETRY: f64 = 1e-3;

/// The numbers of an array in C order; the first axis of a batched one is the instance.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    values: &'a [f64],
    shape: &'a [usize],
    /// True if there is one for every instance.
    pub batched: bool,
}

impl<'a> Values<'a> {
    /// `rank` is that of an array without a batch dimension.
    pub fn new(values: &'a [f64], shape: &'a [usize], rank: usize) -> Result<Self, Failure> {
        if shape.len() != rank && shape.len() != rank + 1 {
            let message = format!("an array of shape {shape:?} where {rank} or {} dimensions are needed", rank + 1);
            return Err(Failure::Misuse(message));
        }
        if shape.iter().product::<usize>() != values.len() {
            return Err(Failure::Misuse(format!("{} numbers for the shape {shape:?}", values.len())));
        }
        Ok(Values { values, shape, batched: shape.len() == rank + 1 })
    }

    pub fn own(&self) -> &'a [usize] {
        &self.shape[usize::from(self.batched)..]
    }

    /// The numbers of instance `k`.
    pub fn at(&self, k: usize) -> &'a [f64] {
        let size: usize = self.own().iter().product();
        if self.batched { &self.values[k * size..(k + 1) * size] } else { self.values }
    }

    fn batch(&self) -> Option<usize> {
        self.batched.then(|| self.shape[0])
    }
}

/// A matrix argument.
#[derive(Clone)]
pub enum Block<'a> {
    Dense(Values<'a>),
    Sparse(Csc, Values<'a>),
    Factored(Values<'a>, Values<'a>),
}

impl<'a> Block<'a> {
    fn batches(&self) -> [Option<usize>; 2] {
        match self {
            Block::Dense(v) | Block::Sparse(_, v) => [v.batch(), None],
            Block::Factored(d, f) => [d.batch(), f.batch()],
        }
    }

    fn batched(&self) -> bool {
        self.batches().iter().any(Option::is_some)
    }

    fn hessian(&self, k: usize, single: bool) -> Result<Hessian, Error> {
        match self {
            Block::Dense(v) => {
                let (rows, cols) = (v.own()[0], v.own()[1]);
                // a symmetric matrix reads the same along its rows; what is not square or symmetric is refused later
                let mut m = match rows == cols {
                    true => Full::from_columns(rows, cols, v.at(k).to_vec()),
                    false => Full::zeros(rows, cols),
                };
                if single && rows == cols {
                    forgive(&mut m);
                }
                Ok(Hessian::Dense(m))
            }
            Block::Sparse(pattern, v) => {
                let mut m = pattern.clone();
                m.values_mut().copy_from_slice(v.at(k));
                Ok(Hessian::Sparse(m))
            }
            Block::Factored(d, f) => Hessian::low_rank(d.at(k).to_vec(), dense(f, k)),
        }
    }

    fn matrix(&self, k: usize) -> Result<Matrix, Error> {
        match self {
            Block::Dense(v) => Ok(Matrix::Dense(full(v, k))),
            Block::Sparse(pattern, v) => {
                let mut m = pattern.clone();
                m.values_mut().copy_from_slice(v.at(k));
                Ok(Matrix::Sparse(m))
            }
            Block::Factored(..) => Err(Error::Unsupported {
                what: "a factored constraint matrix".to_owned(),
                advice: "only P may be factored",
            }),
        }
    }
}

fn dense(v: &Values<'_>, k: usize) -> Mat<f64> {
    MatRef::from_row_major_slice(v.at(k), v.own()[0], v.own()[1]).to_owned()
}

fn full(v: &Values<'_>, k: usize) -> Full {
    Full::from_rows(v.own()[0], v.own()[1], v.at(k))
}

/// Takes the mean of mirrored entries where they differ by rounding in single precision.
fn forgive(m: &mut Full) {
    let n = m.ncols();
    let (mut largest, mut worst) = (0.0_f64, 0.0_f64);
    for j in 0..n {
        for i in j..n {
            largest = largest.max(m[(i, j)].abs());
            worst = worst.max((m[(i, j)] - m[(j, i)]).abs());
        }
    }
    if worst <= SINGLE_ASYMMETRY * largest {
        for j in 0..n {
            for i in j + 1..n {
                let mean = 0.5 * (m[(i, j)] + m[(j, i)]);
                (m[(i, j)], m[(j, i)]) = (mean, mean);
            }
        }
    }
}

/// What is known of the nine slots: P (or d of a factored P), F, q, G, h, A, b, lb, ub.
#[derive(Clone, Copy)]
pub struct Arguments {
    pub present: [bool; 9],
    pub shared: [bool; 9],
}

/// The eight arguments, or directions in them.
#[derive(Default)]
pub struct Data<'a> {
    pub p: Option<Block<'a>>,
    pub q: Option<Values<'a>>,
    pub g: Option<Block<'a>>,
    pub h: Option<Values<'a>>,
    pub a: Option<Block<'a>>,
    pub b: Option<Values<'a>>,
    pub lb: Option<Values<'a>>,
    pub ub: Option<Values<'a>>,
}

impl Data<'_> {
    fn batches(&self) -> [(&'static str, [Option<usize>; 2]); 8] {
        let matrix = |m: &Option<Block<'_>>| m.as_ref().map_or([None; 2], |m| m.batches());
        let vector = |v: &Option<Values<'_>>| [v.as_ref().and_then(|v| v.batch()), None];
        [
            ("P", matrix(&self.p)),
            ("q", vector(&self.q)),
            ("G", matrix(&self.g)),
            ("h", vector(&self.h)),
            ("A", matrix(&self.a)),
            ("b", vector(&self.b)),
            ("lb", vector(&self.lb)),
            ("ub", vector(&self.ub)),
        ]
    }

    /// Refuses batches of different sizes.
    pub fn check(&self) -> Result<(), Failure> {
        let mut size: Option<(usize, &str)> = None;
        for (name, batches) in self.batches() {
            for n in batches.into_iter().flatten() {
                match size {
                    Some((m, first)) if m != n => {
                        return Err(Failure::Misuse(format!(
                            "{name} has a batch of {n}, but {first} has one of {m}: batches must agree"
                        )));
                    }
                    _ => size = Some((n, name)),
                }
            }
        }
        Ok(())
    }

    /// Number of instances; `None` if no argument is batched.
    pub fn batch(&self) -> Option<usize> {
        self.batches().into_iter().find_map(|(_, b)| b.into_iter().flatten().next())
    }

    /// Which arguments there are, and which of them are shared.
    pub fn arguments(&self) -> Arguments {
        let mut out = Arguments { present: [false; 9], shared: [true; 9] };
        let mut slot = |k: usize, values: &Values<'_>| {
            out.present[k] = true;
            out.shared[k] = !values.batched;
        };
        for (k, block) in [(0, &self.p), (3, &self.g), (5, &self.a)] {
            match block {
                Some(Block::Dense(v) | Block::Sparse(_, v)) => slot(k, v),
                Some(Block::Factored(d, f)) => {
                    slot(0, d);
                    slot(1, f);
                }
                None => {}
            }
        }
        for (k, vector) in [(2, &self.q), (4, &self.h), (6, &self.b), (7, &self.lb), (8, &self.ub)] {
            if let Some(values) = vector {
                slot(k, values);
            }
        }
        out
    }

    fn vector(v: &Option<Values<'_>>, k: usize) -> Vec<f64> {
        v.as_ref().map_or(Vec::new(), |v| v.at(k).to_vec())
    }

    fn first(&self, k: usize, single: bool) -> Result<Qp, Error> {
        let q = Self::vector(&self.q, k);
        let mut qp = match &self.p {
            Some(p) => Qp::new(check_square(p)?.hessian(k, single)?, q)?,
            None => Qp::linear(q)?,
        };
        if let Some(a) = &self.a {
            qp = qp.equality(a.matrix(k)?, Self::vector(&self.b, k))?;
        }
        if let Some(g) = &self.g {
            qp = qp.inequality(g.matrix(k)?, Self::vector(&self.h, k))?;
        }
        if self.lb.is_some() || self.ub.is_some() {
            qp = qp.bounds(Self::vector(&self.lb, k), Self::vector(&self.ub, k))?;
        }
        Ok(qp)
    }

    /// The problem of instance `k`, which shares what is shared with `base`.
    fn next(&self, base: &Qp, k: usize, single: bool) -> Result<Qp, Error> {
        let batched = |v: &Option<Values<'_>>| v.as_ref().is_some_and(|v| v.batched);
        let mut qp = base.clone();
        if let Some(p) = self.p.as_ref().filter(|p| p.batched()) {
            qp = qp.with_p(p.hessian(k, single)?)?;
        }
        if batched(&self.q) {
            qp = qp.with_q(Self::vector(&self.q, k))?;
        }
        if let Some(a) = &self.a {
            if a.batched() {
                qp = qp.equality(a.matrix(k)?, Self::vector(&self.b, k))?;
            } else if batched(&self.b) {
                qp = qp.with_b(Self::vector(&self.b, k))?;
            }
        }
        if let Some(g) = &self.g {
            if g.batched() {
                qp = qp.inequality(g.matrix(k)?, Self::vector(&self.h, k))?;
            } else if batched(&self.h) {
                qp = qp.with_h(Self::vector(&self.h, k))?;
            }
        }
        if batched(&self.lb) || batched(&self.ub) {
            qp = qp.bounds(Self::vector(&self.lb, k), Self::vector(&self.ub, k))?;
        }
        Ok(qp)
    }

    /// A problem of these shapes and patterns in which every number is 0: in the place of one that is none.
    fn blank(&self) -> Result<Qp, Error> {
        let zeros = |v: &Option<Values<'_>>| vec![0.0; v.as_ref().map_or(0, |v| v.own().iter().product())];
        let matrix = |block: &Block<'_>| match block {
            Block::Dense(v) => Matrix::Dense(Full::zeros(v.own()[0], v.own()[1])),
            Block::Sparse(pattern, _) => Matrix::Sparse(pattern.map_pattern(|_, _| 0.0)),
            Block::Factored(d, _) => Matrix::Dense(Full::zeros(0, d.own()[0])),
        };
        let q = zeros(&self.q);
        let mut qp = match &self.p {
            Some(Block::Factored(d, f)) => {
                let f = Mat::zeros(f.own()[0], f.own()[1]);
                Qp::new(Hessian::low_rank(vec![0.0; d.own()[0]], f)?, q)?
            }
            Some(p) => match matrix(check_square(p)?) {
                Matrix::Dense(m) => Qp::new(Hessian::from(m), q)?,
                Matrix::Sparse(m) => Qp::new(Hessian::Sparse(m), q)?,
            },
            None => Qp::linear(q)?,
        };
        if let Some(a) = &self.a {
            qp = qp.equality(matrix(a), zeros(&self.b))?;
        }
        if let Some(g) = &self.g {
            qp = qp.inequality(matrix(g), zeros(&self.h))?;
        }
        Ok(qp)
    }

    /// True if an error is in values that an instance does not share with the others: it fails alone.
    fn alone(&self, error: &Error) -> bool {
        let vector = |v: &Option<Values<'_>>| v.as_ref().is_some_and(|v| v.batched);
        let matrix = |m: &Option<Block<'_>>| m.as_ref().is_some_and(|m| m.batched());
        match error {
            Error::NotFinite { argument, .. } => match *argument {
                "q" => vector(&self.q),
                "h" => vector(&self.h),
                "b" => vector(&self.b),
                "lb" => vector(&self.lb),
                "ub" => vector(&self.ub),
                "A" => matrix(&self.a),
                "G" => matrix(&self.g),
                _ => matrix(&self.p),
            },
            Error::Bounds { .. } => vector(&self.lb) || vector(&self.ub),
            error => error.is_of_values() && matrix(&self.p),
        }
    }

    /// The problems of the batch; `size` says how many where every argument is shared. Blocks that did not change since
    /// `last` keep their address, and what was computed of them. `None` if there are none.
    pub fn problems(
        &self,
        last: Option<&Qp>,
        single: bool,
        size: Option<usize>,
    ) -> Result<Option<Problems<'_>>, Failure> {
        let batch = self.batch();
        let n = batch.or(size).unwrap_or(1);
        if n == 0 {
            return Ok(None);
        }
        let mut found = None;
        for k in 0..n {
            match self.first(k, single) {
                Ok(qp) => {
                    found = Some((k, qp));
                    break;
                }
                Err(error) if self.alone(&error) => {}
                Err(error) => return Err(Failure::at(error, batch.map(|_| k))),
            }
        }
        let (at, mut first) = match found {
            Some((k, qp)) => (Some(k), qp),
            None => (None, self.blank()?),
        };
        if let Some(last) = last {
            first = first.share_with(last);
        }
        Ok(Some(Problems { data: self, at, first, single, n }))
    }

    /// The direction of instance `k`, of the structure of `qp`.
    pub fn tangent(&self, qp: &Qp, k: usize) -> Result<Tangent, Error> {
        let some = |v: &Option<Values<'_>>| v.as_ref().map(|v| v.at(k).to_vec());
        let p = match (&self.p, qp.p()) {
            (Some(p), Hessian::Sparse(m)) if matches!(p, Block::Dense(_)) => Some(on_pattern(p, m, k)?),
            // a direction need not be symmetric: the core takes its symmetric part
            (Some(Block::Dense(v)), _) => Some(Hessian::Dense(full(v, k))),
            (Some(p), _) => Some(p.hessian(k, false)?),
            (None, _) => None,
        };
        let matrix = |m: &Option<Block<'_>>| m.as_ref().map(|m| m.matrix(k)).transpose();
        Ok(Gradient {
            p,
            q: some(&self.q),
            a: matrix(&self.a)?,
            b: some(&self.b),
            g: matrix(&self.g)?,
            h: some(&self.h),
            lb: some(&self.lb),
            ub: some(&self.ub),
            ..Gradient::default()
        })
    }
}

/// The problems of a batch, made when they are asked for; never none.
pub struct Problems<'a> {
    data: &'a Data<'a>,
    /// The first instance whose data are a problem; without one, a blank.
    at: Option<usize>,
    first: Qp,
    single: bool,
    n: usize,
}

impl Problems<'_> {
    pub fn first(&self) -> &Qp {
        &self.first
    }

    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.n
    }

    /// The problem of instance `k`.
    pub fn get(&self, k: usize) -> Result<Qp, Error> {
        if self.at == Some(k) { Ok(self.first.clone()) } else { self.data.next(&self.first, k, self.single) }
    }

    /// All of them; an error where an instance alone is no problem.
    pub fn all(&self) -> Result<Vec<Result<Qp, Error>>, Failure> {
        let each = |k: usize| match self.get(k) {
            Err(error) if !self.data.alone(&error) => Err(self.fail(k, error)),
            result => Ok(result),
        };
        (0..self.n).map(each).collect()
    }

    /// What stands for instance `k`, which is no problem; the error itself where it is one of the whole batch.
    pub fn invalid(&self, k: usize, error: Error, settings: &Settings) -> Result<Solution, Failure> {
        match self.data.alone(&error) {
            true => Ok(invalid(&self.data.blank()?, settings)?),
            false => Err(self.fail(k, error)),
        }
    }

    /// An error of instance `k`, which has a name where there is a batch.
    pub fn fail(&self, k: usize, error: Error) -> Failure {
        Failure::at(error, self.data.batch().map(|_| k))
    }
}

fn on_pattern(p: &Block<'_>, pattern: &Csc, k: usize) -> Result<Hessian, Error> {
    match p.matrix(k)? {
        Matrix::Dense(m) => Ok(Hessian::Sparse(pattern.map_pattern(|i, j| m[(i, j)]))),
        Matrix::Sparse(m) => Ok(Hessian::Sparse(m)),
    }
}

fn check_square<'a, 'b>(p: &'a Block<'b>) -> Result<&'a Block<'b>, Error> {
    match p {
        Block::Dense(v) if v.own()[0] != v.own()[1] => {
            let found = (v.own()[0], v.own()[1]);
            Err(Error::Shape { argument: "P", found, expected: (found.1, found.1), advice: "the Hessian is square" })
        }
        _ => Ok(p),
    }
}
