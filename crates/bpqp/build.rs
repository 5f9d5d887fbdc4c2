//! The feature `sdp` needs a BLAS with LAPACK. It is linked by name: OpenBLAS, or what `BPQP_BLAS` names.

fn main() {
    println!("cargo::rerun-if-env-changed=BPQP_BLAS");
    if std::env::var_os("CARGO_FEATURE_SDP").is_some() {
        let name = std::env::var("BPQP_BLAS").unwrap_or_else(|_| "openblas".to_owned());
        println!("cargo::rustc-link-lib={name}");
    }
}
