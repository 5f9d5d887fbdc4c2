//! Cases of a folder with their costs as published, residuals, times, and derivatives against differences.
//!
//! `cargo run --release -p bpqp-grid --example measure -- FOLDER [ac|dc] [NAME ..]`

use bpqp_grid::{Case, Dispatch, Model, Outputs, Parameters};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = words.first().ok_or("name the folder of the cases")?;
    let model = if words.get(1).is_some_and(|w| w == "dc") { Model::Dc } else { Model::Ac };
    let mut names: Vec<String> = std::fs::read_dir(folder)?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.ends_with(".m") && (words.len() < 3 || words[2..].iter().any(|w| name.contains(w.as_str())))
        })
        .collect();
    names.sort();
    println!("case | status | verdict | steps | cost | residual | forward ms | backward ms | price error");
    for name in names {
        let case = Case::parse(&std::fs::read_to_string(format!("{folder}/{name}"))?)?;
        let start = Instant::now();
        let mut found = Dispatch::solve(&case, model, &Default::default())?;
        let forward = start.elapsed().as_secs_f64() * 1e3;
        let (mut backward, mut error) = (f64::NAN, f64::NAN);
        if found.ok() {
            let cot = Outputs { cost: 0.0, power: vec![], price: vec![1.0; case.buses.len()] };
            let start = Instant::now();
            let gradient = found.gradient(&cot)?;
            backward = start.elapsed().as_secs_f64() * 1e3;
            // one direction of all loads, by differences of re-solves
            let along = Parameters { load: case.buses.iter().map(|b| b.load).collect(), ..Parameters::zeros(&case) };
            let step = 1e-6;
            let sum = |step: f64| -> Result<f64, Box<dyn std::error::Error>> {
                let moved = along.moved(&case, step);
                let d = Dispatch::solve_from(&moved, model, &Default::default(), found.point())?;
                Ok(d.price.iter().sum())
            };
            let numeric = (sum(step)? - sum(-step)?) / (2.0 * step);
            let own: f64 = gradient.load.iter().zip(&along.load).map(|(g, d)| g * d).sum();
            error = (own - numeric).abs() / numeric.abs().max(1.0);
        }
        println!(
            "{name} | {} | {} | {} | {:.6} | {:.1e} | {forward:.1} | {backward:.2} | {error:.1e}",
            found.status, found.verdict, found.iterations, found.cost, found.residual
        );
        if let Some(reason) = &found.reason {
            println!("  {reason}");
        }
    }
    Ok(())
}
