//! A model that was trained in Python, served without it: features in, decisions out.
//!
//! ```sh
//! python python/examples/beyond/serve.py model
//! cargo run --release -p bpqp --features serde --example serve -- model < model/features.jsonl
//! ```
//!
//! The folder holds `model.safetensors` (a network of two linear layers, as PyTorch names them) and `program.json` (what
//! `QpLayer.write_json` wrote). A line of standard input is the features of one sample, `[0.1, -2.0, ..]`; a line of standard
//! output its decision, or `{"error": ..}` where it has none: a bad line ends nothing.

use bpqp::{Layer, Qp, Settings};
use safetensors::{Dtype, SafeTensors};
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;

/// `x W' + b`.
struct Linear {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl Linear {
    fn read(model: &SafeTensors<'_>, name: &str) -> Result<Self, Box<dyn Error>> {
        fn words<const K: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; K]> + '_ {
            bytes.chunks_exact(K).filter_map(|word| word.try_into().ok())
        }
        let numbers = |part: &str| -> Result<Vec<f64>, Box<dyn Error>> {
            let tensor = model.tensor(&format!("{name}.{part}"))?;
            let bytes = tensor.data();
            Ok(match tensor.dtype() {
                Dtype::F64 => words(bytes).map(f64::from_le_bytes).collect(),
                Dtype::F32 => words(bytes).map(|b| f64::from(f32::from_le_bytes(b))).collect(),
                other => return Err(format!("{name}.{part} has dtype {other:?}: f32 or f64 is served").into()),
            })
        };
        let (weight, bias) = (numbers("weight")?, numbers("bias")?);
        if bias.is_empty() || weight.is_empty() || weight.len() % bias.len() != 0 {
            return Err(format!("{name} is no linear layer").into());
        }
        Ok(Linear { weight, bias })
    }

    fn apply(&self, x: &[f64]) -> Result<Vec<f64>, Box<dyn Error>> {
        let width = self.weight.len() / self.bias.len();
        if x.len() != width {
            return Err(format!("{} numbers, expected {width}", x.len()).into());
        }
        let rows = self.weight.chunks_exact(width).zip(&self.bias);
        Ok(rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect())
    }
}

struct Model {
    hidden: Linear,
    costs: Linear,
    layer: Layer,
}

impl Model {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let bytes = std::fs::read(folder.join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let qp: Qp = serde_json::from_str(&std::fs::read_to_string(folder.join("program.json"))?)?;
        let (hidden, costs) = (Linear::read(&tensors, "hidden")?, Linear::read(&tensors, "costs")?);
        Ok(Model { hidden, costs, layer: Layer::new(qp, Settings::default())? })
    }

    fn decide(&mut self, line: &str) -> Result<Vec<f64>, Box<dyn Error>> {
        let features: Vec<f64> = serde_json::from_str(line)?;
        let hidden: Vec<f64> = self.hidden.apply(&features)?.into_iter().map(|v| v.max(0.0)).collect();
        // what does not change stays factored: only q is new
        self.layer.update(self.layer.qp().clone().with_q(self.costs.apply(&hidden)?)?)?;
        let solution = self.layer.solve()?;
        match solution.ok() {
            true => Ok(solution.x.clone()),
            false => Err(format!("no decision: {}", solution.status).into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder with model.safetensors and program.json")?;
    let mut model = Model::read(Path::new(&folder))?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match model.decide(&line?) {
            Ok(x) => serde_json::to_string(&x)?,
            Err(error) => serde_json::json!({"error": error.to_string()}).to_string(),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
