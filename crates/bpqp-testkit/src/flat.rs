//! Solving again and again, in every way that keeps something: memory has to stay what it was.

use crate::{Rng, paper};
use bpqp::{
    Batch, Cone, Conic, ConicCotangent, ConicLayer, ConicWrt, Cotangent, Csc, Error, Hessian, Layer, Matrix, Qp,
    Settings, Wrt,
};

/// A way to solve: its name, and what solves a program made with a seed.
pub type Way = (&'static str, Box<dyn FnMut(u64) -> Result<usize, Error>>);

fn program(sparse: bool, seed: u64) -> Result<Qp, Error> {
    let qp = paper::qp(8, 4, seed % 16);
    if !sparse {
        return Ok(qp);
    }
    let of = |m: &Matrix| Matrix::Sparse(Csc::from_dense(&m.to_dense()));
    Qp::new(Hessian::Sparse(Csc::from_dense(&qp.p().to_dense())), qp.q())?
        .equality(of(qp.a()), qp.b())?
        .inequality(of(qp.g()), qp.h())
}

/// `min 1/2 |x|^2 + q'x` over a ball of radius 1.
fn ball(seed: u64) -> Result<Conic, Error> {
    let (p, a) = (
        Csc::from_triplets(3, 3, &[(0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0)])?,
        [(1, 0, -1.0), (2, 1, -1.0), (3, 2, -1.0)],
    );
    let a = Csc::from_triplets(4, 3, &a)?;
    Conic::new(Some(p), Rng::new(seed).normals(3), a, vec![1.0, 0.0, 0.0, 0.0], vec![Cone::SecondOrder(4)])
}

/// All of them; each call solves and differentiates as many programs as it returns.
pub fn ways() -> Vec<Way> {
    let settings = || Settings { threads: 2, ..Settings::default() };
    let ones = Cotangent::x(&[1.0; 8]);
    let mut out: Vec<Way> = Vec::new();
    for (name, sparse) in [("a layer, dense", false), ("a layer, sparse", true)] {
        let (mut layer, ones) = (None, ones.clone());
        let way = move |seed| {
            let qp = program(sparse, seed)?;
            let layer: &mut Layer = match &mut layer {
                Some(layer) => layer,
                none => none.insert(Layer::new(qp.clone(), Settings::default())?),
            };
            layer.update(qp)?;
            layer.solve()?;
            layer.vjp(&ones, Wrt::ALL).map(|_| 1)
        };
        out.push((name, Box::new(way)));
    }
    let own = ones.clone();
    let way = move |seed| {
        let solution = program(seed % 2 == 0, seed)?.solve(&Settings::default())?;
        solution.vjp(&own, Wrt::ALL).map(|_| 1)
    };
    out.push(("single solves", Box::new(way)));
    let mut batch = None;
    let way = move |seed| {
        let qps = (0..8).map(|k| program(false, seed + k)).collect::<Result<Vec<Qp>, Error>>()?;
        let batch: &mut Batch = match &mut batch {
            Some(batch) => batch,
            none => none.insert(Batch::new(qps.clone(), settings())?),
        };
        let solutions = batch.solve(&[0, 1, 2, 3, 4, 5, 6, 7], qps)?.into_iter().collect::<Result<Vec<_>, Error>>()?;
        let cotangents = vec![ones.clone(); 8];
        batch.vjp(&solutions.iter().collect::<Vec<_>>(), &cotangents, Wrt::ALL).map(|_| 8)
    };
    out.push(("batches of eight on two threads", Box::new(way)));
    let mut layer = None;
    let way = move |seed| {
        let conic = ball(seed)?;
        let layer: &mut ConicLayer = match &mut layer {
            Some(layer) => layer,
            none => none.insert(ConicLayer::new(conic.clone(), Settings::default())?),
        };
        layer.replace(conic)?;
        layer.solve()?;
        layer.vjp(&ConicCotangent::x(&[1.0; 3]), ConicWrt::ALL).map(|_| 1)
    };
    out.push(("a layer of cones", Box::new(way)));
    out
}
