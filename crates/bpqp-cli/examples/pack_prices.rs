//! Makes the file of prices that ships with the program from NumPy archives:
//!
//! ```sh
//! cargo run --release -p bpqp-cli --example pack_prices -- us500_close.npz us500_ohlv.npz crates/bpqp-cli/data/us500.prices
//! ```

use bpqp_cli::portfolio::prices::{Prices, packed};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [close, extra, out] = files.as_slice() else {
        return Err("usage: pack_prices CLOSE.npz OPEN_HIGH_LOW_VOLUME.npz OUT".into());
    };
    let prices = Prices::read(Path::new(close), Some(Path::new(extra)))?;
    let packed = packed::pack(&prices).ok_or("a number does not fit the format")?;
    std::fs::write(out, &packed)?;
    let (days, stocks) = (prices.dates.len(), prices.tickers.len());
    println!("{out}: {stocks} stocks, {days} days, {} bytes", packed.len());
    Ok(())
}
