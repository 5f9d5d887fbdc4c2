//! The report in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

fn browser() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let found = std::env::split_paths(&paths).flat_map(|p| names.map(|n| p.join(n))).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no chromium on the path, and CI is set");
        eprintln!("skipped: no chromium on the path (Debian: apt-get install chromium)");
    }
    found
}

fn report(folder: &Path) -> PathBuf {
    let file = folder.join("report.html");
    let output = Command::new(env!("CARGO_BIN_EXE_bpqp"))
        .args(["portfolio", "--quick", "--epochs", "1", "--tune", "2", "--seeds", "2", "--report"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-report-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = std::fs::read_to_string(report(&folder("text"))).unwrap();
    for forbidden in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "NaN", "inf\""] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("width=device-width"));
}

#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else { return };
    let folder = folder("browser");
    let file = report(&folder);
    let show = |arguments: &[String]| {
        let output = Command::new(&browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .args(arguments)
            .arg(format!("file://{}", file.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let dom = String::from_utf8(show(&["--dump-dom".to_owned()])).unwrap();
    // Volatility, its difference, wealth twice, trading, names held, weights twice, training.
    assert_eq!(dom.matches("<svg").count(), 9, "charts");
    assert_eq!(dom.matches("</figure>").count(), 9);
    for words in ["Volatility by period", "Wealth", "Weights, two-stage", "Names held", "What trading costs", "<title>"]
    {
        assert!(dom.contains(words), "{words}");
    }
    for words in
        ["equal weight", "static risk model", "Sharpe", "What these numbers cannot prove", "Survivors", "returns.csv"]
    {
        assert!(dom.contains(words), "{words}");
    }
    // A phone's and a desktop's width. A blank page of this size compresses to a few kilobytes.
    for (name, width, height) in [("phone", 500, 3000), ("desktop", 1200, 2000)] {
        let picture = folder.join(format!("{name}.png"));
        show(&[format!("--window-size={width},{height}"), format!("--screenshot={}", picture.display())]);
        let bytes = std::fs::read(&picture).unwrap();
        assert_eq!(&bytes[1..4], b"PNG");
        assert_eq!(u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]), width);
        assert!(bytes.len() > 100_000, "{name}: {} bytes look blank", bytes.len());
    }
}
