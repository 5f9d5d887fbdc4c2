//! The conic programs of CBLIB: status, objective, residuals before and after the polish, the gradient against a difference
//! along one random direction, and the optimal value's derivatives by q and by b: the relative error, or where the value has
//! a kink, where its derivatives to the left and to the right are from the one that the solution gives. `cargo run --release -p bpqp-testkit --example cblib [name]`

use bpqp_testkit::{conic_run, data};

fn main() {
    let Some(folder) = data::folder("cblib") else { return };
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{}", conic_run::ConicRun::heading());
    for (name, optimum) in data::index_column(&folder, "objective_primal") {
        if name.contains(&only) {
            println!("{}", conic_run::run(&name, &data::cblib(&folder, &name), optimum, &Default::default()).line());
        }
    }
}
