//! What is printed: tables, JSON, a page.

use super::picture;
use crate::portfolio::report::svg::escape;
use bpqp_grid::{Case, Dispatch, GridError, Outputs, Parameters};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Grids up to this size are printed bus by bus, with the price of every bus by the load of every bus in JSON.
const WHOLE: usize = 120;
/// Of larger ones the table has this many of the cheapest and of the dearest buses.
const ENDS: usize = 12;
/// A line is full within this part of its limit.
const FULL: f64 = 1e-6;

/// A bus.
#[derive(Debug, Clone, Serialize)]
pub struct BusResult {
    /// Its number.
    pub bus: i64,
    /// Load in MW.
    pub load: f64,
    /// Price of one more MWh there.
    pub price: Option<f64>,
    /// Change of the price with 1 % more load everywhere.
    pub price_by_load: Option<f64>,
    /// Voltage, in the full model.
    pub voltage: Option<f64>,
}

/// A generator.
#[derive(Debug, Clone, Serialize)]
pub struct GeneratorResult {
    /// The number of its bus.
    pub bus: i64,
    /// Its row in the file, from 1.
    pub row: usize,
    /// Power in MW.
    pub power: Option<f64>,
    /// Bounds of the power.
    pub bounds: [Option<f64>; 2],
    /// Change of the power with 1 % more load everywhere.
    pub power_by_load: Option<f64>,
}

/// A branch whose limit costs something.
#[derive(Debug, Clone, Serialize)]
pub struct LimitResult {
    /// Numbers of its buses.
    pub buses: [i64; 2],
    /// The limit in MVA.
    pub limit: f64,
    /// Change of the cost with one more MVA.
    pub cost_by_limit: f64,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Name of the case.
    pub case: String,
    /// `ac` or `dc`.
    pub model: &'static str,
    /// How the solve ended.
    pub status: &'static str,
    /// How far derivatives may be trusted.
    pub verdict: &'static str,
    /// Why there is no solution.
    pub reason: Option<String>,
    /// Iterations.
    pub iterations: usize,
    /// What is left of the optimality conditions.
    pub residual: Option<f64>,
    /// Cost, $/h.
    pub cost: Option<f64>,
    /// Change of the cost with 1 % more load everywhere.
    pub cost_by_load: Option<f64>,
    /// Load of all buses, MW.
    pub load: f64,
    /// Losses and shunts, MW.
    pub losses: Option<f64>,
    /// The buses.
    pub buses: Vec<BusResult>,
    /// The generators.
    pub generators: Vec<GeneratorResult>,
    /// Branches whose limit costs something.
    pub limits: Vec<LimitResult>,
    /// Row by row the price at a bus by the load of every bus, $/MWh per MW; of grids of 120 buses at most.
    pub price_by_loads: Option<Vec<Vec<f64>>>,
}

fn finite(v: f64) -> Option<f64> {
    v.is_finite().then_some(v)
}

/// Its title, its columns, its rows.
type Listing = (String, Vec<&'static str>, Vec<Vec<String>>);

impl Results {
    /// Of a dispatch, with its derivatives.
    pub fn new(name: &str, ac: bool, mut d: Dispatch) -> Result<Self, GridError> {
        let case: Case = d.case().clone();
        let nb = case.buses.len();
        let mut verdict = d.verdict;
        let (mut more, mut by_limit, mut matrix) = (None, Vec::new(), None);
        if d.ok() {
            let loads = |of: &dyn Fn(usize) -> f64| (0..nb).map(of).collect::<Vec<f64>>();
            let percent = Parameters {
                load: loads(&|k| 0.01 * case.buses[k].load),
                reactive: loads(&|k| 0.01 * case.buses[k].reactive),
                ..Parameters::zeros(&case)
            };
            more = Some(d.along(&percent)?);
            verdict = verdict.worse(d.derivative_verdict());
            by_limit = d.gradient(&Outputs { cost: 1.0, ..Outputs::default() })?.limit;
            if nb <= WHOLE {
                let row = |k: usize, d: &mut Dispatch| {
                    let price = loads(&|j| f64::from(u8::from(j == k)));
                    d.gradient(&Outputs { price, ..Outputs::default() }).map(|g| g.load)
                };
                matrix = Some((0..nb).map(|k| row(k, &mut d)).collect::<Result<Vec<_>, _>>()?);
            }
        }
        let at = |v: &[f64], k: usize| v.get(k).copied().and_then(finite);
        let bus = |k: usize| BusResult {
            bus: case.buses[k].id,
            load: case.buses[k].load,
            price: at(&d.price, k),
            price_by_load: more.as_ref().and_then(|m| at(&m.price, k)),
            voltage: at(&d.voltage, k),
        };
        let generator = |k: usize| {
            let own = &case.generators[k];
            GeneratorResult {
                bus: case.buses[own.bus].id,
                row: own.row + 1,
                power: at(&d.power, k),
                bounds: [finite(own.power.0), finite(own.power.1)],
                power_by_load: more.as_ref().and_then(|m| at(&m.power, k)),
            }
        };
        let unit = d.cost.abs().max(1.0) / case.total_load().abs().max(1.0);
        let limits = case.branches.iter().zip(&by_limit).filter_map(|(branch, by)| {
            let buses = [case.buses[branch.from].id, case.buses[branch.to].id];
            let limit = branch.limit?;
            (by.abs() > FULL * unit).then_some(LimitResult { buses, limit, cost_by_limit: *by })
        });
        let generation: f64 = d.power.iter().sum();
        Ok(Results {
            case: name.to_owned(),
            model: if ac { "ac" } else { "dc" },
            status: d.status.name(),
            verdict: verdict.name(),
            reason: d.reason.clone(),
            iterations: d.iterations,
            residual: finite(d.residual),
            cost: finite(d.cost),
            cost_by_load: more.as_ref().map(|m| m.cost),
            load: case.total_load(),
            losses: finite(generation - case.total_load()),
            buses: (0..nb).map(bus).collect(),
            generators: (0..case.generators.len()).map(generator).collect(),
            limits: limits.collect(),
            price_by_loads: matrix,
        })
    }

    fn head(&self) -> Vec<String> {
        let model = if self.model == "ac" { "full power flow" } else { "linear power flow" };
        let mut lines = vec![format!(
            "{}: {} buses, {} generators, {model}: {}, derivatives {}",
            self.case,
            self.buses.len(),
            self.generators.len(),
            self.status,
            self.verdict
        )];
        if let Some(reason) = &self.reason {
            lines.push(reason.clone());
        }
        if let (Some(cost), Some(by), Some(losses)) = (self.cost, self.cost_by_load, self.losses) {
            lines.push(format!(
                "cost {cost:.2} $/h for {:.2} MW of load, {losses:.2} MW of losses; {by:+.2} $/h with 1 % more load",
                self.load
            ));
        }
        lines
    }

    /// The rows of buses that are shown, cheapest first where not all are.
    fn shown(&self) -> Vec<&BusResult> {
        let mut rows: Vec<&BusResult> = self.buses.iter().collect();
        if rows.len() > WHOLE {
            rows.sort_by(|a, b| a.price.unwrap_or(f64::NAN).total_cmp(&b.price.unwrap_or(f64::NAN)));
            rows.drain(ENDS..rows.len() - ENDS);
        }
        rows
    }

    fn tables(&self) -> Vec<Listing> {
        let number = |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let signed =
            |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{:+.4}", if v.abs() < 5e-5 { 0.0 } else { v }));
        let ac = self.model == "ac";
        let mut columns = vec!["bus", "load MW", "price $/MWh", "with 1 % more load"];
        if ac {
            columns.push("voltage");
        }
        let buses = self.shown().into_iter().map(|b| {
            let mut row =
                vec![b.bus.to_string(), format!("{:.2}", b.load), number(b.price, 4), signed(b.price_by_load)];
            if ac {
                row.push(number(b.voltage, 4));
            }
            row
        });
        let title = if self.buses.len() > WHOLE {
            format!("The {ENDS} cheapest and the {ENDS} dearest of {} buses", self.buses.len())
        } else {
            "Buses".to_owned()
        };
        let running = self
            .generators
            .iter()
            .filter(|g| self.generators.len() <= WHOLE || g.power_by_load.is_some_and(|v| v != 0.0));
        let generators = running.map(|g| {
            let [low, high] = g.bounds;
            let bounds = format!("{} to {}", number(low, 1), number(high, 1));
            vec![g.bus.to_string(), number(g.power, 2), bounds, signed(g.power_by_load)]
        });
        let mut out = vec![
            (title, columns, buses.collect()),
            ("Generators".to_owned(), vec!["bus", "MW", "bounds", "with 1 % more load"], generators.collect()),
        ];
        if !self.limits.is_empty() {
            let rows = self.limits.iter().map(|l| {
                let name = format!("{} - {}", l.buses[0], l.buses[1]);
                vec![name, format!("{:.1}", l.limit), signed(Some(l.cost_by_limit))]
            });
            let columns = vec!["line", "limit MVA", "$/h with one MVA more"];
            out.push(("Lines at their limits".to_owned(), columns, rows.collect()));
        }
        out
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut out = self.head();
        if self.cost.is_none() {
            return out.join("\n");
        }
        for (title, columns, rows) in self.tables() {
            let mut table = Table::new();
            table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(columns);
            table.add_rows(rows);
            for column in table.column_iter_mut() {
                column.set_cell_alignment(CellAlignment::Right);
            }
            out.push(format!("\n{title}\n{table}"));
        }
        out.join("\n")
    }

    /// As a web page.
    pub fn page(&self) -> String {
        let mut body: Vec<String> = vec![format!("<h1>Dispatch of {}</h1>", escape(&self.case))];
        body.extend(self.head().iter().map(|line| format!("<p>{}</p>", escape(line))));
        body.push(picture::prices(self));
        for (title, columns, rows) in self.tables() {
            let cells = |row: &[String]| row.iter().map(|c| format!("<td>{}</td>", escape(c))).collect::<String>();
            let head: String = columns.iter().map(|c| format!("<th>{}</th>", escape(c))).collect();
            let rows: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells(row))).collect();
            body.push(format!("<h2>{}</h2><table><tr>{head}</tr>{rows}</table>", escape(&title)));
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Dispatch of {}</title><style>\
             body{{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}}\
             td,th{{text-align:right;padding:.1rem .8rem;border-bottom:1px solid #ddd}}svg{{width:100%;height:auto}}</style>\
             </head><body>\n{}\n</body></html>\n",
            escape(&self.case),
            body.join("\n")
        )
    }
}
