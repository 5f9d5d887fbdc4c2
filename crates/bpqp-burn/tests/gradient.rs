//! Gradients on burn's tape against central differences of the solved problems.

use bpqp::{Hessian, Matrix, Qp, Settings};
use bpqp_burn::{Arguments, Block, QpLayer};
use burn::tensor::{Device, Tensor, TensorData};

const N: usize = 5;
const M: usize = 1;
const P: usize = 2;
const BATCH: usize = 3;

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

/// The data of `BATCH` problems; every block per instance.
#[derive(Clone)]
struct Data {
    blocks: [Vec<f64>; 8],
}

const SIZES: [usize; 8] = [N * N, N, M * N, M, P * N, P, N, N];

fn shape(block: Block) -> Vec<usize> {
    match block {
        Block::P => vec![BATCH, N, N],
        Block::A => vec![BATCH, M, N],
        Block::G => vec![BATCH, P, N],
        Block::B => vec![BATCH, M],
        Block::H => vec![BATCH, P],
        Block::Q | Block::Lb | Block::Ub => vec![BATCH, N],
        Block::D | Block::F => unreachable!("see low_rank.rs"),
    }
}

/// Problems whose bounds and inequalities are active for about half of the rows.
fn data() -> Data {
    let mut r = Numbers(7);
    let mut blocks: [Vec<f64>; 8] = Default::default();
    for _ in 0..BATCH {
        let f = r.take(N * N);
        for i in 0..N {
            for j in 0..N {
                let ff: f64 = (0..N).map(|k| f[i * N + k] * f[j * N + k]).sum();
                blocks[0].push(ff + if i == j { 0.5 } else { 0.0 });
            }
        }
        let q = r.take(N);
        blocks[1].extend(q.iter().map(|v| 2.0 * v));
        blocks[2].extend(r.take(M * N).iter().map(|v| 1.0 + 0.3 * v));
        blocks[3].push(0.7 + 0.1 * r.next());
        blocks[4].extend(r.take(P * N));
        blocks[5].extend([0.05, 0.1]);
        blocks[6].extend(r.take(N).iter().map(|v| -0.3 + 0.1 * v));
        blocks[7].extend(r.take(N).iter().map(|v| 0.5 + 0.1 * v));
    }
    Data { blocks }
}

fn problem(data: &Data, k: usize) -> Qp {
    let row = |block: usize| data.blocks[block][k * SIZES[block]..(k + 1) * SIZES[block]].to_vec();
    Qp::new(Hessian::from_rows(N, &row(0)).unwrap(), row(1))
        .unwrap()
        .equality(Matrix::from_rows(M, N, &row(2)).unwrap(), row(3))
        .unwrap()
        .inequality(Matrix::from_rows(P, N, &row(4)).unwrap(), row(5))
        .unwrap()
        .bounds(row(6), row(7))
        .unwrap()
}

/// The loss `sum_k c_k'x_k` (plus the same on multipliers) of the problems, in double precision.
fn loss(data: &Data, weights: &[f64], multipliers: bool) -> f64 {
    let width = weights.len() / BATCH;
    (0..BATCH)
        .map(|k| {
            let s = problem(data, k).solve(&Settings::default()).unwrap();
            assert!(s.status.ok());
            let mut all = s.x.clone();
            if multipliers {
                all.extend(s.y.iter().chain(&s.z).chain(&s.z_box));
            }
            all.iter().zip(&weights[k * width..]).map(|(v, w)| v * w).sum::<f64>()
        })
        .sum()
}

fn tensor<const D: usize>(values: &[f64], shape: Vec<usize>, device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Single precision data, so that the tensors carry exactly the problem that is differentiated.
fn rounded(data: &Data) -> Data {
    let mut data = data.clone();
    for block in &mut data.blocks {
        block.iter_mut().for_each(|v| *v = f64::from(*v as f32));
    }
    data
}

fn check(multipliers: bool) {
    let data = rounded(&data());
    let device = Device::flex().autodiff();
    let template = problem(&data, 0);
    let mut layer = QpLayer::shared(template, BATCH, Settings::default()).unwrap();
    let mut width = N;
    if multipliers {
        layer = layer.with_multipliers();
        width = 2 * N + M + P;
    }
    let weights = Numbers(11).take(BATCH * width);

    let matrix = |b: Block| tensor::<3>(&data.blocks[b as usize], shape(b), &device).require_grad();
    let vector = |b: Block| tensor::<2>(&data.blocks[b as usize], shape(b), &device).require_grad();
    let (p, a, g) = (matrix(Block::P), matrix(Block::A), matrix(Block::G));
    let v = [Block::Q, Block::B, Block::H, Block::Lb, Block::Ub].map(vector);
    let arguments = Arguments::new().p(p.clone()).a(a.clone()).g(g.clone());
    let arguments = arguments.q(v[0].clone()).b(v[1].clone()).h(v[2].clone()).lb(v[3].clone()).ub(v[4].clone());
    let output = layer.forward(arguments).unwrap();
    let all = match output.multipliers {
        None => output.x,
        Some(m) => Tensor::cat(vec![output.x, m.y, m.z, m.z_box], 1),
    };
    let objective = (all * tensor::<2>(&weights, vec![BATCH, width], &device)).sum();
    let grads = objective.backward();

    let list =
        |t: Option<TensorData>| t.expect("a tracked argument has a gradient").iter::<f64>().collect::<Vec<f64>>();
    let analytic = [
        list(p.grad(&grads).map(Tensor::into_data)),
        list(v[0].grad(&grads).map(Tensor::into_data)),
        list(a.grad(&grads).map(Tensor::into_data)),
        list(v[1].grad(&grads).map(Tensor::into_data)),
        list(g.grad(&grads).map(Tensor::into_data)),
        list(v[2].grad(&grads).map(Tensor::into_data)),
        list(v[3].grad(&grads).map(Tensor::into_data)),
        list(v[4].grad(&grads).map(Tensor::into_data)),
    ];

    let mut active = 0;
    for block in Block::ALL.into_iter().take(8) {
        let k = block as usize;
        let mut scale = 1e-2_f64;
        let mut worst = 0.0_f64;
        for e in 0..data.blocks[k].len() {
            // P is symmetric: move both halves together, and compare with the sum of both entries.
            let mirror = (block == Block::P).then(|| e / (N * N) * N * N + e % N * N + e % (N * N) / N);
            let step = 1e-4;
            let moved = |by: f64| {
                let mut data = data.clone();
                data.blocks[k][e] += by;
                if let Some(m) = mirror.filter(|&m| m != e) {
                    data.blocks[k][m] += by;
                }
                loss(&data, &weights, multipliers)
            };
            let numeric = (moved(step) - moved(-step)) / (2.0 * step);
            let value = analytic[k][e] + mirror.filter(|&m| m != e).map_or(0.0, |m| analytic[k][m]);
            scale = scale.max(numeric.abs());
            worst = worst.max((numeric - value).abs());
            active += usize::from(matches!(block, Block::Lb | Block::Ub) && value != 0.0);
        }
        assert!(worst <= 2e-5 * scale, "{block}: {worst:.2e} off, largest entry {scale:.2e}");
    }
    assert!(active >= BATCH, "the test wants active bounds, got {active}");
}

#[test]
fn gradient_of_every_block_matches_central_differences() {
    check(false);
}

#[test]
fn gradient_of_losses_on_multipliers_matches_central_differences() {
    check(true);
}

#[test]
fn a_shared_argument_gets_the_sum_over_the_batch() {
    let data = rounded(&data());
    let device = Device::flex().autodiff();
    let problems: Vec<Qp> = (0..BATCH).map(|k| problem(&data, k)).collect();
    let layer = QpLayer::new(problems, Settings::default()).unwrap();
    let q = &data.blocks[Block::Q as usize][..N];
    let shared = tensor::<1>(q, vec![N], &device).require_grad();
    let repeated = tensor::<2>(&q.repeat(BATCH), vec![BATCH, N], &device).require_grad();
    let weights = tensor::<2>(&Numbers(3).take(BATCH * N), vec![BATCH, N], &device);

    let x = layer.forward(Arguments::new().q(shared.clone())).unwrap().x;
    let grads = (x * weights.clone()).sum().backward();
    let summed = shared.grad(&grads).unwrap();
    let x = layer.forward(Arguments::new().q(repeated.clone())).unwrap().x;
    let grads = (x * weights).sum().backward();
    let expected: Tensor<1> = repeated.grad(&grads).unwrap().sum_dim(0).reshape([N]);
    let gap = (summed - expected).abs().max().into_scalar::<f32>();
    assert!(gap < 1e-5, "{gap}");
}

#[test]
fn what_does_not_track_gradients_gets_none() {
    let data = rounded(&data());
    let device = Device::flex().autodiff();
    let layer = QpLayer::shared(problem(&data, 0), BATCH, Settings::default()).unwrap();
    let q = tensor::<2>(&data.blocks[1], vec![BATCH, N], &device).require_grad();
    let b = tensor::<2>(&data.blocks[3], vec![BATCH, M], &device);
    let x = layer.forward(Arguments::new().q(q.clone()).b(b.clone())).unwrap().x;
    let grads = x.sum().backward();
    assert!(q.grad(&grads).is_some());
    assert!(b.grad(&grads).is_none());

    // Without a tracked argument there is nothing on the tape.
    let x = layer.forward(Arguments::new().b(b)).unwrap().x;
    assert!(!x.is_tracked());
}

#[test]
fn instances_may_come_in_any_order() {
    let data = rounded(&data());
    let device = Device::flex();
    let layer = QpLayer::new((0..BATCH).map(|k| problem(&data, k)).collect(), Settings::default()).unwrap();
    let all: Vec<f64> = layer.forward(Arguments::new()).unwrap().x.into_data().iter::<f64>().collect();
    let q = tensor::<2>(&[&data.blocks[1][2 * N..], &data.blocks[1][..N]].concat(), vec![2, N], &device);
    let some = layer.forward_at(&[2, 0], Arguments::new().q(q)).unwrap().x;
    let some: Vec<f64> = some.into_data().iter::<f64>().collect();
    for i in 0..N {
        assert!((some[i] - all[2 * N + i]).abs() < 1e-6);
        assert!((some[N + i] - all[i]).abs() < 1e-6);
    }
}
