//! What is slower as more is stored.

use std::collections::BTreeMap;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::bench::{Bench, Size};
use crate::chart::{Chart, Curve};
use crate::footprint;
use crate::line::{Figure, Line, grouped, ratios};
use crate::outcome::ms;
use crate::processes::Server;
use crate::single_calls::{SingleCalls, TURNS, index_of_waiting};

/// How much more time a call may take with more stored, and how many fewer may be accepted.
const SLOWER: f64 = 1.2;
const FEWER: f64 = 0.8;

/// How often a relay is started on each database.
const STARTS: u32 = 3;

const SMALLEST: &str = "the smallest database";

/// What everything was with the least stored, and how fast it is since, as a share of that.
#[derive(Default)]
pub(crate) struct Growth {
    smallest: BTreeMap<String, f64>,
    /// Rates with the least stored, round by round.
    smallest_rates: BTreeMap<String, Vec<f64>>,
    rates: Speeds,
    times: Speeds,
}

/// By name, in the order in which they were measured first.
type Speeds = Vec<(String, Vec<f64>)>;

impl Growth {
    /// Notes a rate, round by round; a line is added when there is something to compare it with.
    pub(crate) fn rate(&mut self, bench: &mut Bench, name: String, stored: u64, rate: &[f64]) {
        let speeds = speeds_of(&mut self.rates, &name);
        let when = format!("{name}, {} stored", grouped(stored));
        let first = self.smallest_rates.entry(name).or_insert_with(|| rate.to_vec());
        let share = Figure::from(ratios(rate, first)).median;
        if !speeds.is_empty() {
            let line = Line::rate("accepted, as it grows", when, rate, first, SMALLEST);
            bench.report.add(line.at_least(FEWER));
        }
        speeds.push(share);
    }

    fn time(&mut self, bench: &mut Bench, name: &str, stored: u64, took: &Histogram<u64>) {
        let figure = Figure { median: ms(took, 0.5), least: ms(took, 0.0), most: ms(took, 1.0) };
        let first = *self.smallest.entry(name.to_owned()).or_insert(figure.median);
        let line =
            Line::new(name, format!("nothing else, {} stored", grouped(stored)), "ms", figure);
        let speeds = speeds_of(&mut self.times, name);
        let is_first = speeds.is_empty();
        bench.report.add(if is_first {
            line
        } else {
            line.beside(first, SMALLEST).at_most(SLOWER)
        });
        speeds.push(first / figure.median);
    }

    /// Measures a start, and what is done for one visitor with no load, for each size by turns.
    pub(crate) async fn measure(&mut self, bench: &mut Bench, sizes: &[Size]) -> Result<()> {
        let mut relays = Vec::new();
        for size in sizes {
            let [db, _] = bench.copies(size)?;
            let start = || Ok(Server::relay(&db)?.started_in.as_secs_f64() * 1e3);
            let starts = (0..STARTS).map(|_| start()).collect::<Result<Vec<_>>>()?;
            let when = format!("{} stored", grouped(size.stored));
            let line = Line::new("relay: start to listening", when, "ms", starts);
            bench.report.add(line.at_most(footprint::START_MS));
            relays.push((size.stored, Server::relay(&db)?, db));
        }
        let mut all = Vec::new();
        for (stored, relay, _) in &relays {
            all.push(SingleCalls::to(relay, *stored).await?);
        }
        for turn in 0..TURNS {
            for calls in &mut all {
                calls.take_turn(turn).await?;
            }
        }
        for ((stored, relay, db), calls) in relays.iter().zip(&all) {
            for (name, took) in [
                ("a message", &calls.messages),
                ("a message to a long conversation", &calls.long_messages),
                ("a lease of 10", &calls.leases),
                ("a reply", &calls.replies),
                ("a page of a transcript", &calls.pages),
                ("a stream with 50 entries", &calls.streams),
            ] {
                self.time(bench, name, *stored, took);
            }
            self.index(bench, *stored, index_of_waiting(relay, db).await?);
        }
        Ok(())
    }

    /// The size of the index of the waiting messages, in KiB.
    fn index(&mut self, bench: &mut Bench, stored: u64, kib: f64) {
        let first = *self.smallest.entry("index".into()).or_insert(kib);
        let line =
            Line::new("index of 1,000 waiting", format!("{} stored", grouped(stored)), "KiB", kib);
        bench.report.add(line.beside(first, SMALLEST).at_most(SLOWER));
    }

    /// How fast everything still is, as shares of how fast it was with the least stored.
    pub(crate) fn charts(&self, stored: &[u64]) -> [Chart; 2] {
        let chart = |name, title, speeds: &Speeds| {
            let curve = |(name, speeds): &(String, Vec<f64>)| Curve::measured(name, speeds.clone());
            let mut curves: Vec<_> = speeds.iter().map(curve).collect();
            curves.push(Curve::bound("0.80", vec![FEWER; stored.len()]));
            let at = stored.iter().copied().map(grouped).collect();
            let (x, y) = ("messages stored", "speed, as a share");
            Chart { name, title, x, y, at, is_logarithmic: false, curves }
        };
        [
            chart("growth-rates", "Messages accepted in a second, as more is stored", &self.rates),
            chart("growth-times", "Speed of single calls, as more is stored", &self.times),
        ]
    }
}

fn speeds_of<'a>(all: &'a mut Speeds, name: &str) -> &'a mut Vec<f64> {
    let place = all.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        all.push((name.to_owned(), Vec::new()));
        all.len() - 1
    });
    &mut all[place].1
}
