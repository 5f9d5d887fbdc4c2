//! The exact judge, in short: no wrong number under `exact`, no false proof, and regular problems are `exact`.

use bpqp::Settings;
use bpqp_testkit::Rng;
use bpqp_testkit::judge::{Kind, judge};
use bpqp_testkit::planted::Planted;

#[test]
fn nothing_is_wrong_and_called_exact() {
    let (mut regular, mut exactly) = (0, 0);
    for seed in 1..=800 {
        let spread = [0, 0, 10, 30][(seed % 4) as usize];
        let (copies, sparse) = if seed % 8 < 4 { (1, false) } else { (12, true) };
        let planted = Planted::new(&mut Rng::new(seed), spread);
        let Some(result) = judge(&planted, copies, sparse, &Settings::default()) else { continue };
        if let Some(why) = &result.wrong {
            // weaker verdicts in units apart: the point is what the solver left
            let weaker = spread > 0 && !result.said.starts_with("exact") && why != "a proof of what is not so";
            assert!(weaker, "seed {seed}, {:?}, {}: {why}", result.kind, result.said);
        }
        if result.kind == Kind::Regular && spread == 0 {
            regular += 1;
            exactly += usize::from(result.said == "exact");
        }
    }
    assert!(regular > 100 && exactly == regular, "{exactly} of {regular} regular problems are exact");
}
