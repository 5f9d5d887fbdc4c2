//! Cases of PGLib: published costs, prices and derivatives against re-solves.

use bpqp::Verdict;
use bpqp_grid::{Case, Dispatch, GridError, Model, Outputs, Parameters};
use bpqp_testkit::Rng;
use bpqp_testkit::data::folder;
use bpqp_testkit::mutate::mutant;
use std::path::Path;

fn read(folder: &Path, name: &str) -> Case {
    let text = std::fs::read_to_string(folder.join(name)).expect("the case is there");
    Case::parse(&text).expect("a case")
}

/// The numbers of a column of the published table.
fn published(folder: &Path, name: &str) -> (f64, f64) {
    let text = std::fs::read_to_string(folder.join("pglib_opf_baseline.md")).expect("the table is there");
    let key = format!("| {} |", name.trim_end_matches(".m"));
    let line = text.lines().find(|line| line.starts_with(&key)).expect("the case is in the table");
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let value: f64 = cells[5].parse().expect("a number");
    // five digits are printed
    (value, 10f64.powi(value.abs().log10().floor() as i32 - 4))
}

fn random(case: &Case, rng: &mut Rng) -> Parameters {
    let (nb, nl, ng) = (case.buses.len(), case.branches.len(), case.generators.len());
    let scaled = |rng: &mut Rng, n: usize, of: &dyn Fn(usize) -> f64| (0..n).map(|k| rng.normal() * of(k)).collect();
    Parameters {
        load: scaled(rng, nb, &|k| case.buses[k].load),
        reactive: scaled(rng, nb, &|k| case.buses[k].reactive),
        limit: scaled(rng, nl, &|k| case.branches[k].limit.unwrap_or(0.0)),
        quadratic: scaled(rng, ng, &|k| case.generators[k].cost[0]),
        linear: scaled(rng, ng, &|k| case.generators[k].cost[1]),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Cost, powers and prices along a random direction of all parameters, both modes, against differences of re-solves.
fn derivatives(name: &str, case: &Case, model: Model, tolerance: f64) {
    let mut found = Dispatch::solve(case, model, &Default::default()).expect("valid");
    assert!(found.ok(), "{name}: {} {:?}", found.status, found.reason);
    if found.verdict != Verdict::Exact {
        return;
    }
    let mut rng = Rng::new(7);
    let along = random(case, &mut rng);
    let cot =
        Outputs { cost: rng.normal(), power: rng.normals(case.generators.len()), price: rng.normals(case.buses.len()) };
    let t = found.along(&along).expect("a solution");
    let g = found.gradient(&cot).expect("a solution");
    let forward = cot.cost * t.cost + dot(&cot.power, &t.power) + dot(&cot.price, &t.price);
    let pairs = [
        (&g.load, &along.load),
        (&g.reactive, &along.reactive),
        (&g.limit, &along.limit),
        (&g.quadratic, &along.quadratic),
        (&g.linear, &along.linear),
    ];
    let backward: f64 = pairs.iter().map(|(a, b)| dot(a, b)).sum();
    assert!((forward - backward).abs() <= 1e-8 * forward.abs().max(1.0), "{name}: {forward} {backward}");
    let step = 1e-6;
    let at = |place: f64| {
        let d = Dispatch::solve(&along.moved(case, place), model, &Default::default()).expect("valid");
        assert!(d.ok(), "{name}: {}", d.status);
        d
    };
    let (high, low) = (at(step), at(-step));
    let slope = |a: f64, b: f64| (a - b) / (2.0 * step);
    let cost = slope(high.cost, low.cost);
    assert!((cost - t.cost).abs() <= tolerance * cost.abs().max(1.0), "{name}: cost {cost} {}", t.cost);
    for (what, high, low, own) in
        [("power", &high.power, &low.power, &t.power), ("price", &high.price, &low.price, &t.price)]
    {
        let numeric: Vec<f64> = high.iter().zip(low).map(|(a, b)| slope(*a, *b)).collect();
        let size = numeric.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        for (k, (a, b)) in numeric.iter().zip(own).enumerate() {
            assert!((a - b).abs() <= tolerance * size, "{name}: {what} {k}: {a} {b}");
        }
    }
}

const AC: [&str; 8] = ["3_lmbd", "5_pjm", "14_ieee", "30_as", "30_ieee", "57_ieee", "118_ieee", "300_ieee"];

#[test]
fn full_power_flow_has_the_published_costs_and_derivatives() {
    let Some(folder) = folder("opf") else { return };
    for name in AC.map(|name| format!("pglib_opf_case{name}.m")) {
        let case = read(&folder, &name);
        let found = Dispatch::solve(&case, Model::Ac, &Default::default()).expect("valid");
        let (cost, unit) = published(&folder, &name);
        assert!(found.ok() && (found.cost - cost).abs() <= unit, "{name}: {} {} {cost}", found.status, found.cost);
        assert!(found.residual <= 1e-8, "{name}: {}", found.residual);
        assert_eq!(found.verdict, Verdict::Exact, "{name}");
        derivatives(&name, &case, Model::Ac, 2e-5);
    }
}

/// Grids of hundreds of buses: their costs, what Ipopt 3.14 finds on the same formulation with its bounds relaxed by 1e-8, and
/// how cost and prices move with the loads, beside re-solves from the solution.
#[test]
fn large_grids_have_the_published_costs_and_derivatives() {
    let Some(folder) = folder("opf") else { return };
    for (name, ipopt) in [("89_pegase", 107285.673068), ("1354_pegase", 1258843.984980)] {
        let name = format!("pglib_opf_case{name}.m");
        let case = read(&folder, &name);
        let mut found = Dispatch::solve(&case, Model::Ac, &Default::default()).expect("valid");
        let (cost, unit) = published(&folder, &name);
        assert!(found.ok() && (found.cost - cost).abs() <= unit, "{name}: {} {} {cost}", found.status, found.cost);
        assert!((found.cost - ipopt).abs() <= 1e-6 * ipopt, "{name}: {} {ipopt}", found.cost);
        assert!(found.residual <= 1e-8, "{name}: {}", found.residual);
        assert_ne!(found.verdict, Verdict::Untrusted, "{name}");
        let load = case.buses.iter().enumerate().map(|(k, bus)| bus.load * ((k % 7) as f64 - 2.0)).collect();
        let along = Parameters { load, ..Parameters::zeros(&case) };
        let t = found.along(&along).expect("a solution");
        let weights: Vec<f64> = (0..case.buses.len()).map(|k| (k % 5) as f64 - 2.0).collect();
        let cot = Outputs { cost: 1.0, power: Vec::new(), price: weights.clone() };
        let pulled = dot(&found.gradient(&cot).expect("a solution").load, &along.load);
        let pushed = t.cost + dot(&weights, &t.price);
        assert!((pulled - pushed).abs() <= 1e-8 * pushed.abs(), "{name}: {pulled} {pushed}");
        let step = 1e-6;
        let at = |place: f64| {
            let moved = along.moved(&case, place);
            let d = Dispatch::solve_from(&moved, Model::Ac, &Default::default(), found.point()).expect("valid");
            assert!(d.ok(), "{name}: {}", d.status);
            d
        };
        let (high, low) = (at(step), at(-step));
        let slope = |a: f64, b: f64| (a - b) / (2.0 * step);
        let numeric = slope(high.cost, low.cost);
        assert!((numeric - t.cost).abs() <= 1e-6 * t.cost.abs(), "{name}: {numeric} {}", t.cost);
        let size = t.price.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
        for (k, own) in t.price.iter().enumerate() {
            let numeric = slope(high.price[k], low.price[k]);
            assert!((numeric - own).abs() <= 2e-5 * size, "{name}: price {k}: {numeric} {own}");
        }
    }
}

#[test]
fn linear_power_flow_has_the_values_of_the_index() {
    let Some(folder) = folder("opf") else { return };
    let index = std::fs::read_to_string(folder.join("index.csv")).expect("the index is there");
    let mut count = 0;
    for line in index.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let case = read(&folder, cells[0]);
        let value: f64 = cells[9].parse().expect("a number");
        let found = Dispatch::solve(&case, Model::Dc, &Default::default()).expect("valid");
        assert!(found.ok() && (found.cost - value).abs() <= 1e-7 * value, "{}: {} {value}", cells[0], found.cost);
        if case.buses.len() <= 200 {
            derivatives(cells[0], &case, Model::Dc, 1e-4);
        }
        count += 1;
    }
    assert_eq!(count, 22);
}

#[test]
fn broken_files_are_refused_in_words() {
    let case = "function mpc = case2\nmpc.baseMVA = 100.0;\nmpc.bus = [\n1 3 0 0 0 0 1 1 0 230 1 1.1 0.9;\n\
                2 1 50 10 0 0 1 1 0 230 1 1.1 0.9; ];\nmpc.gen = [ 1 0 0 90 -90 1 100 1 100 0; ];\n\
                mpc.gencost = [ 2 0 0 3 0.01 10 0; ];\nmpc.branch = [ 1 2 0.01 0.1 0 80 0 0 0 0 1 -30 30; ]; % a line\n";
    let good = Case::parse(case).expect("a case");
    for model in [Model::Dc, Model::Ac] {
        let mut found = Dispatch::solve(&good, model, &Default::default()).expect("valid");
        assert!(found.ok(), "{}", found.status);
        let more = Parameters { load: vec![0.0, 1.0], ..Parameters::default() };
        let cost = found.along(&more).expect("a solution").cost;
        assert!((cost - found.price[1]).abs() <= 1e-9 * cost, "{cost} {}", found.price[1]);
    }
    for (from, to, word) in [
        ("mpc.bus", "mpc.bux", "mpc.bus"),
        ("0 230 1 1.1 0.9; ]", "0 230 1 1.1; ]", "row 2"),
        ("1 2 0.01 0.1", "1 7 0.01 0.1", "no bus 7"),
        ("1 2 0.01 0.1", "1 2 0 0", "impedance"),
        ("2 0 0 3 0.01", "2 0 0 30 0.01", "coefficients"),
        ("2 0 0 3 0.01", "1 0 0 3 0.01", "model 1"),
        ("2 1 50", "1 1 50", "twice"),
        ("1 3 0 0", "1 1 0 0", "reference"),
        ("100.0;", "x;", "number"),
        ("2 1 50", "2 1 NaN", "number"),
        ("1 100 0; ]", "1 0 100; ]", "power"),
    ] {
        match Case::parse(&case.replacen(from, to, 1)) {
            Err(GridError::Case(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{from} -> {to}: {other:?}"),
        }
    }
    let mut rng = Rng::new(3);
    let corpus = [case.as_bytes().to_vec()];
    for _ in 0..3000 {
        let bytes = mutant(&corpus, &mut rng);
        let _ = Case::parse(&String::from_utf8_lossy(&bytes));
    }
}
