use bpqp::*;
use bpqp_testkit::{Rng, cone_judge::PlantedCones};
fn main() {
    for a in std::env::args().skip(1) {
        let seed: u64 = a.parse().unwrap();
        let spread = [0, 0, 4, 10][(seed % 4) as usize];
        let p = PlantedCones::new(&mut Rng::new(seed), spread).unwrap();
        let s = p.problem.solve(&Settings::default()).unwrap();
        println!("{seed} {:?} places {:?}", s.status, p.places);
        println!(
            "x {:?}\nright {:?}\ns {:?}\ny {:?}\nactive {:?}\nres {:?}\n info {:?}",
            s.x,
            p.x,
            s.s,
            s.y,
            s.active(),
            s.residuals,
            s.info
        );
    }
}
