//! Where the boxes of a drawing stand: in layers, each below all that it waits for. Small drawings by rust-sugiyama, which keeps lines
//! from crossing; its time grows faster than their size, so large ones get one plain row a layer.

use rust_sugiyama::configure::Config;

pub(super) const HEIGHT: f64 = 40.0;
const MARGIN: f64 = 20.0;
/// Between boxes of a row.
const GAP: f64 = 30.0;
/// Between rows.
const STEP: f64 = 2.0 * HEIGHT;
/// Of a drawing whose lines are kept apart: its boxes, and the rows that all lines pass together. At this many it was measured to take
/// half a second, and 10,000 tasks took a minute.
const MAX_FINE: usize = 5_000;

/// A drawing.
pub(super) struct Layout {
    /// The centres of the boxes, by their numbers.
    pub(super) centres: Vec<(f64, f64)>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays out boxes of these widths; lines go from the number of an upper one to that of a lower one, and are in no circle.
pub(super) fn layout(widths: &[f64], lines: &[(u32, u32)]) -> Layout {
    let ranks = ranks(widths.len(), lines);
    let passed = lines.iter().map(|&(from, to)| ranks[to as usize] - ranks[from as usize]).sum::<usize>();
    if widths.len() + passed <= MAX_FINE { fine(widths, lines) } else { plain(widths, &ranks) }
}

/// Parts that hang together are laid out apart, and stand side by side.
fn fine(widths: &[f64], lines: &[(u32, u32)]) -> Layout {
    let boxes: Vec<(u32, (f64, f64))> = (0..).zip(widths).map(|(n, width)| (n, (*width, HEIGHT))).collect();
    let config = Config { vertex_spacing: GAP, ..Config::default() };
    let mut centres = vec![(0.0, 0.0); widths.len()];
    let (mut right, mut bottom) = (MARGIN, 0.0_f64);
    for (part, ..) in rust_sugiyama::from_vertices_and_edges(&boxes, lines, &config) {
        let half = |n: usize| widths.get(n).map_or(0.0, |w| w / 2.0);
        let left = part.iter().map(|(n, (x, _))| x - half(*n)).fold(f64::INFINITY, f64::min);
        let top = part.iter().map(|(_, (_, y))| *y).fold(f64::INFINITY, f64::min);
        let mut edge = right;
        for (n, (x, y)) in part {
            let at = (x - left + right, y - top + MARGIN + HEIGHT / 2.0);
            edge = edge.max(at.0 + half(n));
            bottom = bottom.max(at.1 + HEIGHT / 2.0);
            if let Some(centre) = centres.get_mut(n) {
                *centre = at;
            }
        }
        right = edge + 2.0 * MARGIN;
    }
    Layout { centres, width: right - MARGIN, height: bottom + MARGIN }
}

/// One row a rank.
fn plain(widths: &[f64], ranks: &[usize]) -> Layout {
    let rows = ranks.iter().max().map_or(0, |last| last + 1);
    let mut ends = vec![MARGIN; rows];
    let mut centres: Vec<(f64, f64)> = Vec::with_capacity(widths.len());
    for (width, &rank) in widths.iter().zip(ranks) {
        centres.push((ends[rank] + width / 2.0, MARGIN + HEIGHT / 2.0 + rank as f64 * STEP));
        ends[rank] += width + GAP;
    }
    let full = ends.iter().copied().fold(MARGIN, f64::max) - GAP + MARGIN;
    // Rows stand in the middle.
    for (centre, &rank) in centres.iter_mut().zip(ranks) {
        centre.0 += (full - (ends[rank] - GAP + MARGIN)) / 2.0;
    }
    Layout { centres, width: full, height: 2.0 * MARGIN + HEIGHT + rows.saturating_sub(1) as f64 * STEP }
}

/// How many boxes the longest way from the top passes before each.
fn ranks(boxes: usize, lines: &[(u32, u32)]) -> Vec<usize> {
    let mut below = vec![Vec::new(); boxes];
    let mut above = vec![0_usize; boxes];
    for &(from, to) in lines {
        below[from as usize].push(to as usize);
        above[to as usize] += 1;
    }
    let mut ranks = vec![0; boxes];
    let mut next: Vec<usize> = (0..boxes).filter(|&n| above[n] == 0).collect();
    while let Some(n) = next.pop() {
        for &to in &below[n] {
            ranks[to] = ranks[to].max(ranks[n] + 1);
            above[to] -= 1;
            if above[to] == 0 {
                next.push(to);
            }
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box below each of the five before it.
    fn ladder(count: u32) -> (Vec<f64>, Vec<(u32, u32)>) {
        let lines = (0..count).flat_map(|n| (1..=5).filter_map(move |d| Some((n.checked_sub(d)?, n)))).collect();
        (vec![100.0; count as usize], lines)
    }

    #[test]
    fn every_box_stands_below_what_it_waits_for_and_beside_the_others() {
        for count in [10, 100_000] {
            let (widths, mut lines) = ladder(count);
            lines.retain(|(_, to)| to % 10 != 0);
            let drawn = layout(&widths, &lines);
            assert!(lines.iter().all(|(from, to)| drawn.centres[*from as usize].1 + HEIGHT < drawn.centres[*to as usize].1));
            let mut places: Vec<_> = drawn.centres.iter().map(|(x, y)| (*y as i64, *x as i64)).collect();
            places.sort_unstable();
            assert!(places.windows(2).all(|two| two[0].0 != two[1].0 || two[1].1 - two[0].1 >= 100));
            let inside = |(x, y): &(f64, f64)| *x >= 50.0 && *y >= 20.0 && x + 50.0 <= drawn.width && y + 20.0 <= drawn.height;
            assert!(drawn.centres.iter().all(inside));
        }
    }
}
