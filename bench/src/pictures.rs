//! Charts as SVG files, on a ground of their own, so that they read on a light page and a dark one.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{Chart, Curve};

const SIZE: (u32, u32) = (880, 440);

/// Where the curves' names begin, from the left.
const NAMES_AT: u32 = 600;

const GROUND: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(36, 41, 47);
const FAINT: RGBColor = RGBColor(221, 225, 230);
/// For axes, and for what is not measured.
const GREYS: [RGBColor; 2] = [RGBColor(87, 96, 106), RGBColor(160, 168, 177)];

/// Told apart by those who see few colours, too (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Draws a chart into a file of its name.
pub(crate) fn draw(chart: &Chart, folder: &Path) -> Result<()> {
    let mut svg = String::new();
    paint(chart, &mut svg).map_err(|fault| anyhow!("{}: {fault}", chart.name))?;
    Ok(fs::write(folder.join(chart.file()), svg)?)
}

type Fault = Box<dyn std::error::Error>;

fn paint(chart: &Chart, svg: &mut String) -> Result<(), Fault> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&GROUND)?;
    let root = root.margin(12, 12, 8, 8).titled(chart.title, text(24).into_text_style(&root))?;
    let (left, names) = root.split_horizontally(NAMES_AT);
    paint_curves(chart, &left)?;
    paint_names(chart, &names)?;
    Ok(root.present()?)
}

fn paint_curves(chart: &Chart, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Fault> {
    let last = chart.at.len().saturating_sub(1) as f64;
    let places: Vec<f64> = (0..chart.at.len()).map(|place| place as f64).collect();
    let (least, most) = chart.range();
    let marks = if chart.is_logarithmic { powers(least, most) } else { steps(least, most) };
    let x = Axis { least: -0.3, most: last + 0.3, marks: places.clone() };
    let y = Axis { least, most, marks };
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(56).y_label_area_size(84);
    let mut plot = builder.build_cartesian_2d(x, y)?;
    plot.configure_mesh()
        .disable_x_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(GREYS[0])
        .label_style(text(17))
        .axis_desc_style(text(17))
        .x_desc(chart.x)
        .y_desc(chart.y)
        .x_label_formatter(&|place| at(chart, *place))
        .y_label_formatter(&|place| chart.label(*place))
        .draw()?;
    for (curve, colour) in coloured(chart) {
        let values = curve.values.iter().map(|value| chart.place(*value));
        let points: Vec<_> = places.iter().copied().zip(values).collect();
        if curve.is_bound {
            plot.draw_series(DashedLineSeries::new(points, 6, 5, colour.stroke_width(2)))?;
        } else {
            let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
            plot.draw_series(dots)?;
            plot.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// The curves' names beside a piece of each.
fn paint_names(chart: &Chart, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Fault> {
    let style = text(17).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    for ((curve, colour), row) in coloured(chart).zip(0..) {
        let y = 30 + row * 26;
        let strokes = if curve.is_bound { vec![(0, 9), (15, 24)] } else { vec![(0, 24)] };
        for (from, to) in strokes {
            let line = PathElement::new(vec![(from, y), (to, y)], colour.stroke_width(3));
            area.draw(&line)?;
        }
        area.draw(&Text::new(curve.name.clone(), (34, y), style.clone()))?;
    }
    Ok(())
}

fn coloured(chart: &Chart) -> impl Iterator<Item = (&Curve, RGBColor)> {
    let (mut colours, mut greys) = (COLOURS.into_iter().cycle(), GREYS.into_iter().cycle());
    chart.curves.iter().map(move |curve| {
        let colour = if curve.is_bound { greys.next() } else { colours.next() };
        (curve, colour.unwrap_or(INK))
    })
}

fn text(size: u32) -> TextStyle<'static> {
    ("system-ui, sans-serif", size).into_font().color(&INK)
}

fn at(chart: &Chart, place: f64) -> String {
    chart.at.get(place.round() as usize).cloned().unwrap_or_default()
}

/// Four to ten even marks.
fn steps(least: f64, most: f64) -> Vec<f64> {
    let step = 10_f64.powf((most - least).log10().floor());
    let step = if (most - least) / step < 4.0 { step / 5.0 } else { step };
    let step = if (most - least) / step > 10.0 { step * 2.0 } else { step };
    (0..).map(|number| least + f64::from(number) * step).take_while(|mark| *mark < most).collect()
}

fn powers(least: f64, most: f64) -> Vec<f64> {
    (least as i32..=most as i32).map(f64::from).collect()
}

/// A straight axis with marks where they are wanted.
struct Axis {
    least: f64,
    most: f64,
    marks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.least) / (self.most - self.least);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.least..self.most
    }
}
