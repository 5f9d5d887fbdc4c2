//! The layer against central differences of solved problems, against the core, and what becomes of bad instances.

use bpqp::{Cotangent, Hessian, Matrix, Qp, Settings, Status, Wrt};
use bpqp_candle::{Arguments, Block, Error, LayerError, OnFailure, QpLayer};
use candle_core::{DType, Device, Tensor, Var};

type Any<T> = Result<T, Box<dyn std::error::Error>>;

const N: usize = 5;
const M: usize = 1;
const P: usize = 2;
const BATCH: usize = 3;
const SIZES: [usize; 8] = [N * N, N, M * N, M, P * N, P, N, N];

/// Uniform numbers in [-1, 1) that do not depend on any library.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    fn take(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// The blocks of `BATCH` problems whose bounds and inequalities are active for about half of the rows.
fn data() -> [Vec<f64>; 8] {
    let mut r = Numbers(7);
    let mut blocks: [Vec<f64>; 8] = Default::default();
    for _ in 0..BATCH {
        let f = r.take(N * N);
        for (i, j) in (0..N).flat_map(|i| (0..N).map(move |j| (i, j))) {
            let ff: f64 = (0..N).map(|k| f[i * N + k] * f[j * N + k]).sum();
            blocks[0].push(ff + if i == j { 0.5 } else { 0.0 });
        }
        blocks[1].extend(r.take(N).iter().map(|v| 2.0 * v));
        blocks[2].extend(r.take(M * N).iter().map(|v| 1.0 + 0.3 * v));
        blocks[3].push(0.7 + 0.1 * r.next());
        blocks[4].extend(r.take(P * N));
        blocks[5].extend([0.05, 0.1]);
        blocks[6].extend(r.take(N).iter().map(|v| -0.3 + 0.1 * v));
        blocks[7].extend(r.take(N).iter().map(|v| 0.5 + 0.1 * v));
    }
    blocks
}

fn problem(data: &[Vec<f64>; 8], k: usize) -> Result<Qp, bpqp::Error> {
    let row = |block: usize| data[block][k * SIZES[block]..(k + 1) * SIZES[block]].to_vec();
    Qp::new(Hessian::from_rows(N, &row(0))?, row(1))?
        .equality(Matrix::from_rows(M, N, &row(2))?, row(3))?
        .inequality(Matrix::from_rows(P, N, &row(4))?, row(5))?
        .bounds(row(6), row(7))
}

fn shape(block: Block) -> Vec<usize> {
    match block {
        Block::P => vec![BATCH, N, N],
        Block::A => vec![BATCH, M, N],
        Block::G => vec![BATCH, P, N],
        Block::B => vec![BATCH, M],
        Block::H => vec![BATCH, P],
        _ => vec![BATCH, N],
    }
}

fn variables(data: &[Vec<f64>; 8], dtype: DType) -> Any<Vec<Var>> {
    let one = |block: Block| {
        let tensor = Tensor::from_slice(&data[block as usize], shape(block), &Device::Cpu)?;
        Var::from_tensor(&tensor.to_dtype(dtype)?)
    };
    Ok(Block::ALL.into_iter().take(8).map(one).collect::<Result<_, _>>()?)
}

fn arguments(v: &[Var]) -> Arguments {
    Arguments::new().p(&v[0]).q(&v[1]).a(&v[2]).b(&v[3]).g(&v[4]).h(&v[5]).lb(&v[6]).ub(&v[7])
}

fn list(tensor: &Tensor) -> Any<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// A layer, and a loss on all that it gives out.
fn loss(layer: &QpLayer, arguments: Arguments, weights: &[f64], dtype: DType) -> Any<(Tensor, Tensor)> {
    let out = layer.forward(arguments)?;
    let all = match &out.multipliers {
        None => out.x.clone(),
        Some(m) => Tensor::cat(&[&out.x, &m.y, &m.z, &m.z_box], 1)?,
    };
    assert_eq!(all.dtype(), dtype);
    let weights = Tensor::from_slice(weights, all.shape(), &Device::Cpu)?.to_dtype(dtype)?;
    Ok(((&all * weights)?.sum_all()?, all))
}

#[test]
fn gradients_of_every_block_and_output_are_central_differences() -> Any<()> {
    let data = data();
    let width = 2 * N + M + P;
    let weights = Numbers(11).take(BATCH * width);
    let layer = QpLayer::shared(problem(&data, 0)?, BATCH, Settings::default())?.with_multipliers();
    let value = |data: &[Vec<f64>; 8]| -> Any<f64> {
        let mut sum = 0.0;
        for k in 0..BATCH {
            let s = problem(data, k)?.solve(&Settings::default())?;
            assert!(s.ok());
            let all = s.x.iter().chain(&s.y).chain(&s.z).chain(&s.z_box);
            sum += all.zip(&weights[k * width..]).map(|(v, w)| v * w).sum::<f64>();
        }
        Ok(sum)
    };
    let v = variables(&data, DType::F64)?;
    let (objective, _) = loss(&layer, arguments(&v), &weights, DType::F64)?;
    assert!((objective.to_scalar::<f64>()? - value(&data)?).abs() < 1e-9);
    let store = objective.backward()?;
    let mut active = 0;
    for (k, var) in v.iter().enumerate() {
        let gradient = list(store.get(var).ok_or("a variable has a gradient")?)?;
        let mut scale = 1e-2_f64;
        let mut worst = 0.0_f64;
        for e in 0..data[k].len() {
            // P is symmetric: move both halves together, and compare with the sum of both entries
            let mirror = (k == 0).then(|| e / (N * N) * N * N + e % N * N + e % (N * N) / N).filter(|&m| m != e);
            let moved = |by: f64| {
                let mut data = data.clone();
                data[k][e] += by;
                if let Some(m) = mirror {
                    data[k][m] += by;
                }
                value(&data)
            };
            let numeric = (moved(1e-5)? - moved(-1e-5)?) / 2e-5;
            let found = gradient[e] + mirror.map_or(0.0, |m| gradient[m]);
            scale = scale.max(numeric.abs());
            worst = worst.max((numeric - found).abs());
            active += usize::from(k >= 6 && found != 0.0);
        }
        assert!(worst <= 1e-7 * scale, "{}: {worst:.2e} off, largest entry {scale:.2e}", Block::ALL[k]);
    }
    assert!(active >= BATCH, "the test wants active bounds, got {active}");
    Ok(())
}

#[test]
fn single_precision_goes_in_and_out_and_the_core_is_inside() -> Any<()> {
    let single = data().map(|block| block.into_iter().map(|v| f64::from(v as f32)).collect::<Vec<f64>>());
    let weights: Vec<f64> = Numbers(5).take(BATCH * N).into_iter().map(|v| f64::from(v as f32)).collect();
    let layer = QpLayer::shared(problem(&single, 0)?, BATCH, Settings::default())?;
    let v = variables(&single, DType::F32)?;
    let (objective, x) = loss(&layer, arguments(&v), &weights, DType::F32)?;
    let store = objective.backward()?;
    let (x, q) = (list(&x)?, store.get(&v[1]).ok_or("q has a gradient")?);
    assert_eq!(q.dtype(), DType::F32);
    let q = list(q)?;
    for k in 0..BATCH {
        let solution = problem(&single, k)?.solve(&Settings::default())?;
        let gradient = solution.vjp(&Cotangent::x(&weights[k * N..(k + 1) * N]), Wrt::Q)?;
        let expected = gradient.q.ok_or("asked for")?;
        for i in 0..N {
            // one rounding to single precision
            assert!((x[k * N + i] - solution.x[i]).abs() <= f64::from(f32::EPSILON));
            assert!((q[k * N + i] - expected[i]).abs() <= f64::from(f32::EPSILON) * expected[i].abs().max(1.0));
        }
    }
    Ok(())
}

#[test]
fn shared_arguments_get_the_sum_and_constants_nothing() -> Any<()> {
    let data = data();
    let problems = (0..BATCH).map(|k| problem(&data, k)).collect::<Result<Vec<_>, _>>()?;
    let layer = QpLayer::new(problems, Settings::default())?;
    let q = &data[1][..N];
    let shared = Var::new(q, &Device::Cpu)?;
    let repeated = Var::from_tensor(&Tensor::from_vec(q.repeat(BATCH), (BATCH, N), &Device::Cpu)?)?;
    let constant = Tensor::from_slice(&data[3], (BATCH, M), &Device::Cpu)?;
    let weights = Numbers(3).take(BATCH * N);
    let gradient = |v: &Var| -> Any<Tensor> {
        // twice and doubled: the graph around the layer is candle's own
        let argument = ((v.as_tensor() + v.as_tensor())? * 0.5)?;
        let (objective, _) = loss(&layer, Arguments::new().q(&argument).b(&constant), &weights, DType::F64)?;
        let store = objective.backward()?;
        assert!(store.get(&constant).is_none());
        Ok(store.get(v).ok_or("a variable has a gradient")?.clone())
    };
    let (one, all) = (list(&gradient(&shared)?)?, list(&gradient(&repeated)?.sum(0)?)?);
    assert!(one.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-12) && one.iter().any(|v| v.abs() > 1e-3));
    // without a tracked argument there is no operation
    assert!(!layer.forward(Arguments::new().b(&constant))?.x.track_op());
    Ok(())
}

#[test]
fn a_factored_hessian_has_the_gradients_of_the_dense_one() -> Any<()> {
    let (n, r) = (6, 2);
    let values = |count: usize, by: f64| (0..count).map(|k| by * f64::sin(1.7 * k as f64 + by)).collect::<Vec<_>>();
    let d = Var::from_vec(values(2 * n, 0.4).iter().map(|v| 1.0 + v).collect(), (2, n), &Device::Cpu)?;
    let f = Var::from_vec(values(2 * n * r, 1.1), (2, n, r), &Device::Cpu)?;
    let q = Tensor::from_vec(values(2 * n, 0.9), (2, n), &Device::Cpu)?;
    let weights = values(2 * n, 2.3);
    let run = |p: Hessian, arguments: Arguments| -> Any<Vec<f64>> {
        let ones = vec![1.0; n];
        let qp = Qp::new(p, vec![0.0; n])?.equality(Matrix::from_rows(1, n, &ones)?, vec![1.0])?;
        let layer = QpLayer::shared(qp.bounds(vec![0.0; n], vec![0.5; n])?, 2, Settings::default())?;
        let (objective, x) = loss(&layer, arguments.q(&q), &weights, DType::F64)?;
        let store = objective.backward()?;
        let parts = [&x, store.get(&d).ok_or("d")?, store.get(&f).ok_or("F")?];
        Ok(parts.into_iter().map(list).collect::<Any<Vec<_>>>()?.concat())
    };
    let start = Hessian::low_rank(vec![1.0; n], faer::Mat::zeros(n, r))?;
    let dense_start = Hessian::from(start.to_dense());
    let factored = run(start, Arguments::new().low_rank(&d, &f))?;
    let eye = Tensor::eye(n, DType::F64, &Device::Cpu)?.unsqueeze(0)?;
    let diagonal = eye.broadcast_mul(&d.unsqueeze(2)?)?;
    let dense = run(dense_start, Arguments::new().p(&(diagonal + f.matmul(&f.transpose(1, 2)?)?)?))?;
    assert!(factored.iter().any(|v| v.abs() > 0.01));
    for (a, b) in factored.iter().zip(&dense) {
        assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{factored:?}\n{dense:?}");
    }
    Ok(())
}

#[test]
fn an_instance_that_comes_back_starts_from_its_last_solution() -> Any<()> {
    let n = 30;
    let f = faer::Mat::from_fn(n, 3, |i, k| 0.1 * ((i * 7 + k * 5) % 11) as f64 / 11.0);
    let d = (0..n).map(|i| 0.02 + 0.001 * (i % 5) as f64).collect();
    let qp = Qp::new(Hessian::low_rank(d, f)?, vec![0.0; n])?
        .equality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![1.0])?
        .bounds(vec![0.0; n], vec![0.2; n])?;
    let layer = QpLayer::shared(qp, 4, Settings { threads: 1, ..Settings::default() })?;
    let q = |index: &[usize], moved: f64| {
        let value = |i: usize, j: usize| -0.05 * (((i + 1) * (j + 3) * 13) % 17) as f64 / 17.0 + moved * (j % 3) as f64;
        let values: Vec<f64> = index.iter().flat_map(|&i| (0..n).map(move |j| value(i, j))).collect();
        Tensor::from_vec(values, (index.len(), n), &Device::Cpu)
    };
    let order = [2, 0, 3, 1];
    layer.forward(Arguments::new().q(&q(&[0, 1, 2, 3], 0.0)?))?;
    let cold = layer.take_timing();
    // another order, slightly other problems: as in the next epoch
    let x = layer.forward_at(&order, Arguments::new().q(&q(&order, 1e-5)?))?.x;
    let warm = layer.take_timing();
    assert!(warm.forward_count == 4 && warm.forward_iterations < cold.forward_iterations, "{warm:?} {cold:?}");
    let fresh = QpLayer::shared(layer.problem(0).ok_or("it has four")?.clone(), 4, Settings::default())?;
    let gap = (x - fresh.forward(Arguments::new().q(&q(&order, 1e-5)?))?.x)?.abs()?.max_all()?;
    assert!(gap.to_scalar::<f64>()? < 1e-9);
    Ok(())
}

/// `min 1/2 |x|^2 + q'x, x_1 + x_2 = b, 0 <= x <= 1`: no point for b > 2.
fn small(policy: OnFailure) -> Any<QpLayer> {
    let qp = Qp::new(Hessian::from_rows(2, &[1.0, 0.0, 0.0, 1.0])?, vec![0.1, -0.2])?
        .equality(Matrix::from_rows(1, 2, &[1.0, 1.0])?, vec![1.0])?
        .bounds(vec![0.0; 2], vec![1.0; 2])?;
    Ok(QpLayer::shared(qp, 3, Settings::default())?.on_failure(policy))
}

#[test]
fn a_failing_instance_spoils_no_other() -> Any<()> {
    let b = Var::new(&[[1.0], [5.0], [0.5]], &Device::Cpu)?;
    let arguments = || Arguments::new().b(&b);
    let error = small(OnFailure::Error)?.forward(arguments()).err().ok_or("one has no point")?;
    let Error::Layer(found) = &error else { return Err(error.into()) };
    assert_eq!(*found, LayerError::Failed { failed: vec![(1, Status::PrimalInfeasible)], batch: 3 });

    let out = small(OnFailure::Nan)?.forward(arguments())?;
    let x = list(&out.x)?;
    assert!(x[2].is_nan() && x[3].is_nan() && (x[0] - 0.35).abs() < 1e-9 && (x[1] - 0.65).abs() < 1e-9, "{x:?}");
    let gradient = |x: Tensor| -> Any<Vec<f64>> { list(x.backward()?.get(&b).ok_or("b is a variable")?) };
    let g = gradient(out.x.narrow(1, 0, 1)?.sum_all()?)?;
    assert!((g[0] - 0.5).abs() < 1e-9 && (g[2] - 0.5).abs() < 1e-9 && g[1].is_nan(), "{g:?}");
    // a loss that leaves the instance out is not spoiled by it
    let masked = (out.x.get(0)?.sum_all()? + out.x.get(2)?.sum_all()?)?;
    assert_eq!(gradient(masked)?[1], 0.0);

    let out = small(OnFailure::ZeroGradient)?.forward(arguments())?;
    assert!(!out.status[1].ok());
    assert_eq!(gradient(out.x.sum_all()?)?[1], 0.0);
    Ok(())
}

#[test]
fn misuse_is_named() -> Any<()> {
    let layer = small(OnFailure::Nan)?;
    let text = |arguments: Arguments| layer.forward(arguments).map_or_else(|e| e.to_string(), |_| String::new());
    let zeros = |shape: &[usize], dtype: DType| Tensor::zeros(shape, dtype, &Device::Cpu);
    let found = text(Arguments::new().q(&zeros(&[3, 5], DType::F32)?));
    assert!(found.contains("q has shape [3, 5], expected [2]") && found.contains("batch dimension of 3"), "{found}");
    let found = text(Arguments::new().h(&zeros(&[1], DType::I64)?));
    assert_eq!(found, "h has dtype I64: pass a tensor of floating point numbers");
    // data that are refused stay with their instance
    let q = Var::new(&[[0.1, -0.2], [f64::NAN, 0.0], [0.1, -0.2]], &Device::Cpu)?;
    let out = layer.forward(Arguments::new().q(&q))?;
    assert!(out.refused.len() == 1 && out.refused[0].0 == 1 && out.refused[0].1.to_string().contains('q'));
    let store = out.x.sum_all()?.backward()?;
    let g = list(store.get(&q).ok_or("q is a variable")?)?;
    assert!(g[0].is_finite() && g[2].is_nan() && g[4].is_finite(), "{g:?}");
    Ok(())
}
