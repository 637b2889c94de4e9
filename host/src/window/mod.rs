//! Windows over batch time: which epochs each holds, when it ends, and what is kept of epochs until then.
//!
//! Time is cut into panes, as long as the greatest span that divides both a window's length and its slide: a window is a row of
//! panes, and every epoch belongs to one of them, the one that ends at or after its batch time. The partial results of a pane's epochs
//! are combined as they come; a pane that has ended is combined with its neighbours to spans of 2, 4, 8 panes, each once and at
//! places that only time decides. So a window is put together of a few spans instead of all of its rows, and in the same order on any
//! worker, at any restart: float sums too are the same. Of rows that are only collected, panes are left as they are ([`Spans::Panes`]).
//!
//! Pure: partial results come in, those of windows that have ended go out. What a partial result is, and how two become one, is the caller's.

mod parts;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config::format_duration;
use crate::ids::{BatchTime, Epoch};
use crate::state::Batch;
pub use parts::{Part, Parts};

/// The columns that say which window a row is of.
pub const BOUNDS: [&str; 2] = ["window_start", "window_end"];

/// How long windows are and how far apart they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// In milliseconds.
    length: i64,
    slide: i64,
    pane: i64,
}

impl WindowSpec {
    /// Windows of a length, of which one ends with every slide; windows end at multiples of it since 1970. What is wrong if there cannot be such.
    ///
    /// # Errors
    /// When a span is not of whole milliseconds, or windows would leave something out.
    pub fn new(length: Duration, slide: Duration) -> Result<Self, &'static str> {
        let millis = |span: Duration| {
            let whole = span.subsec_nanos().is_multiple_of(1_000_000) && !span.is_zero();
            i64::try_from(span.as_millis()).ok().filter(|_| whole)
        };
        let (Some(length), Some(slide)) = (millis(length), millis(slide)) else {
            return Err("a window is of whole milliseconds");
        };
        if slide > length {
            return Err("a window that slides further than it is long leaves rows out");
        }
        Ok(Self {
            length,
            slide,
            pane: gcd(length, slide),
        })
    }

    /// Its length in milliseconds.
    pub fn length(self) -> i64 {
        self.length
    }

    /// How far apart windows end, in milliseconds.
    pub fn slide(self) -> i64 {
        self.slide
    }

    /// The pane that an epoch belongs to: pane `i` ends at `i` times its length.
    fn pane_of(self, time: BatchTime) -> i64 {
        -(-time.0).div_euclid(self.pane)
    }

    /// The last end of a window that is not after a time.
    fn end_before(self, time: i64) -> i64 {
        time.div_euclid(self.slide) * self.slide
    }

    fn panes(self) -> i64 {
        self.length / self.pane
    }
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |millis: i64| format_duration(Duration::from_millis(millis.unsigned_abs()));
        let (length, slide) = (span(self.length), span(self.slide));
        write!(f, "windows of {length}, one every {slide}")
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Makes one partial result of several, in their order.
pub type Combine<'a, B, E> = dyn FnMut(&[&B]) -> Result<B, E> + 'a;

/// How much a partial result holds: decides which are combined.
pub trait Rows {
    /// Rows, or groups.
    fn rows(&self) -> usize;
}

impl Rows for Batch {
    fn rows(&self) -> usize {
        self.num_rows()
    }
}

/// How the windows that overlap are given the panes that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// Put together to spans, each once: for what gets smaller by that.
    Combined,
    /// As they are.
    Panes,
}

/// A window that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<B> {
    /// Its end in milliseconds since 1970; it holds what is not after it, and after its beginning.
    pub end: i64,
    /// What it consists of, in the order of time.
    pub spans: Vec<B>,
}

/// The windows that have ended of several inputs, by their ends: what each consists of, of each input.
pub fn by_end<B: Clone>(inputs: Vec<Vec<Ended<B>>>) -> BTreeMap<i64, Vec<Vec<B>>> {
    let nothing = vec![Vec::new(); inputs.len()];
    let mut windows = BTreeMap::new();
    for (place, ended) in inputs.into_iter().enumerate() {
        for Ended { end, spans } in ended {
            windows.entry(end).or_insert_with(|| nothing.clone())[place] = spans;
        }
    }
    windows
}

/// The windows of one partition.
#[derive(Debug)]
pub struct Windows<B> {
    spec: WindowSpec,
    /// The highest level of spans: no window is of more panes than 2 to the 62.
    highest: u32,
    /// The batch time of the last epoch.
    last: Option<i64>,
    /// The pane that epochs are being added to.
    open: Option<(i64, Parts<B>)>,
    /// Panes that have ended, by their number.
    panes: BTreeMap<i64, Part<B>>,
    /// Spans of `2^level` of them, by level and number, as far as a window has asked for them.
    spans: BTreeMap<(u32, i64), B>,
}

impl<B: Clone + Rows> Windows<B> {
    /// Before the first epoch.
    pub fn new(spec: WindowSpec, spans: Spans) -> Self {
        Self {
            spec,
            highest: match spans {
                Spans::Combined => 62,
                Spans::Panes => 0,
            },
            last: None,
            open: None,
            panes: BTreeMap::new(),
            spans: BTreeMap::new(),
        }
    }

    /// As they were after the epoch of a time; `kept` is what [`Self::kept`] gave then, each part with its pane.
    pub fn restored(
        spec: WindowSpec,
        spans: Spans,
        last: BatchTime,
        kept: impl IntoIterator<Item = (i64, Part<B>)>,
    ) -> Self {
        let mut windows = Self::new(spec, spans);
        windows.last = Some(last.0);
        let open = spec.pane_of(last);
        for (pane, part) in kept {
            // An epoch at the very end of a pane ends it.
            if pane == open && last.0 < open * spec.pane {
                let (_, parts) = windows.open.get_or_insert_with(|| (pane, Parts::default()));
                parts.restore(part);
            } else {
                windows.panes.insert(pane, part);
            }
        }
        windows
    }

    /// Everything that is needed from now on: panes with their parts, in order.
    pub fn kept(&self) -> impl Iterator<Item = (i64, &Part<B>)> {
        let ended = self.panes.iter().map(|(pane, part)| (*pane, part));
        let open = self.open.iter();
        ended.chain(open.flat_map(|(pane, parts)| parts.iter().map(|part| (*pane, part))))
    }

    /// All that is held, also what could be put together again: where each lies is the caller's.
    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut B> {
        let ended = self.panes.values_mut().map(|part| &mut part.content);
        let open = self.open.iter_mut().flat_map(|(_, parts)| parts.contents());
        ended.chain(open).chain(self.spans.values_mut())
    }

    /// When the next window ends that holds anything.
    pub fn next_end(&self) -> Option<i64> {
        let last = self.last?;
        let is_empty = self.open.is_none() && self.panes.is_empty();
        (!is_empty).then(|| self.spec.end_before(last) + self.spec.slide)
    }

    /// An epoch: its time, and its partial result if it has any rows. Answers the windows that end with it or ended since the one before.
    ///
    /// # Errors
    /// Those of `combine`.
    pub fn advance<E>(
        &mut self,
        epoch: Epoch,
        time: BatchTime,
        partial: Option<B>,
        combine: &mut Combine<'_, B, E>,
    ) -> Result<Vec<Ended<B>>, E> {
        let mut ended = Vec::new();
        while let Some(end) = self.next_end().filter(|end| *end < time.0) {
            self.end(end, &mut ended, combine)?;
        }
        let pane = self.spec.pane_of(time);
        self.close_before(pane, combine)?;
        if let Some(partial) = partial {
            let (_, parts) = self.open.get_or_insert_with(|| (pane, Parts::default()));
            parts.push(epoch, partial, combine)?;
        }
        if time.0 % self.spec.pane == 0 {
            self.close_before(pane + 1, combine)?;
        }
        if time.0 % self.spec.slide == 0 {
            self.end(time.0, &mut ended, combine)?;
        }
        self.last = Some(time.0);
        Ok(ended)
    }

    /// Ends the window that ends at `end`, and forgets what no later one holds.
    fn end<E>(
        &mut self,
        end: i64,
        ended: &mut Vec<Ended<B>>,
        combine: &mut Combine<'_, B, E>,
    ) -> Result<(), E> {
        let after = end / self.spec.pane + 1;
        self.close_before(after, combine)?;
        let spans = self.cover(after - self.spec.panes(), after, combine)?;
        if !spans.is_empty() {
            ended.push(Ended { end, spans });
        }
        let needed = after + self.spec.slide / self.spec.pane - self.spec.panes();
        self.panes = self.panes.split_off(&needed);
        self.spans.retain(|(level, at), _| at << level >= needed);
        self.last = Some(end);
        Ok(())
    }

    /// Ends the open pane if it is before this one.
    fn close_before<E>(&mut self, pane: i64, combine: &mut Combine<'_, B, E>) -> Result<(), E> {
        if let Some((open, parts)) = self.open.take_if(|(open, _)| *open < pane)
            && let Some(whole) = parts.whole(combine)?
        {
            self.panes.insert(open, whole);
        }
        Ok(())
    }

    /// The fewest spans that hold the panes from `start` to before `end`.
    fn cover<E>(
        &mut self,
        mut start: i64,
        end: i64,
        combine: &mut Combine<'_, B, E>,
    ) -> Result<Vec<B>, E> {
        let mut spans = Vec::new();
        while start < end {
            let aligned = start.trailing_zeros().min(self.highest);
            let fits = (end - start).ilog2();
            let level = aligned.min(fits);
            spans.extend(self.span(level, start >> level, combine)?);
            start += 1 << level;
        }
        Ok(spans)
    }

    fn span<E>(
        &mut self,
        level: u32,
        at: i64,
        combine: &mut Combine<'_, B, E>,
    ) -> Result<Option<B>, E> {
        if level == 0 {
            return Ok(self.panes.get(&at).map(|part| part.content.clone()));
        }
        if let Some(known) = self.spans.get(&(level, at)) {
            return Ok(Some(known.clone()));
        }
        let left = self.span(level - 1, 2 * at, combine)?;
        let right = self.span(level - 1, 2 * at + 1, combine)?;
        let whole = match (left, right) {
            (Some(left), Some(right)) => combine(&[&left, &right])?,
            (None, None) => return Ok(None),
            (one, other) => return Ok(one.or(other)),
        };
        self.spans.insert((level, at), whole.clone());
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// A partial result that shows what it was made of.
    type Numbers = Vec<i64>;

    impl Rows for Numbers {
        fn rows(&self) -> usize {
            self.len()
        }
    }

    fn combine(parts: &[&Numbers]) -> Result<Numbers, Infallible> {
        Ok(parts.iter().flat_map(|part| part.iter().copied()).collect())
    }

    fn spec(length: i64, slide: i64) -> WindowSpec {
        let span = |millis: i64| Duration::from_millis(millis as u64);
        WindowSpec::new(span(length), span(slide)).unwrap()
    }

    /// What a window holds, looked for in all epochs.
    fn twin(spec: WindowSpec, epochs: &[(i64, bool)]) -> Vec<(i64, Numbers)> {
        let Some((last, _)) = epochs.last() else {
            return Vec::new();
        };
        let ends = (0..=*last).filter(|end| end % spec.slide == 0);
        let windows = ends.map(|end| {
            let inside = epochs
                .iter()
                .filter(|(time, has_rows)| *has_rows && *time <= end && *time > end - spec.length);
            (end, inside.map(|(time, _)| *time).collect())
        });
        windows
            .filter(|(_, held): &(_, Numbers)| !held.is_empty())
            .collect()
    }

    fn content(ended: Vec<Ended<Numbers>>) -> impl Iterator<Item = (i64, Numbers)> {
        ended
            .into_iter()
            .map(|window| (window.end, window.spans.concat()))
    }

    proptest! {
        #[test]
        fn windows_hold_what_a_search_of_all_epochs_finds_and_a_restart_changes_nothing(
            gaps in prop::collection::vec((1i64..40, any::<bool>(), any::<bool>()), 0..80),
            pane in 1i64..8, slide in 1i64..5, more in 0i64..12, combined: bool,
        ) {
            let spec = spec(pane * (slide + more), pane * slide);
            let spans = if combined { Spans::Combined } else { Spans::Panes };
            let mut windows = Windows::<Numbers>::new(spec, spans);
            let (mut epochs, mut found, mut time) = (Vec::new(), Vec::new(), 0);
            for (number, (gap, has_rows, restart)) in (0..).zip(gaps) {
                time += gap;
                epochs.push((time, has_rows));
                let partial = has_rows.then(|| vec![time]);
                let ended = windows.advance(Epoch(number), BatchTime(time), partial, &mut combine);
                found.extend(content(ended.unwrap()));
                let next = windows.next_end();
                prop_assert!(next.is_none_or(|next| next > time && next <= time + spec.slide));
                if restart {
                    let kept: Vec<_> = windows
                        .kept()
                        .map(|(pane, part)| (pane, part.clone()))
                        .collect();
                    windows = Windows::restored(spec, spans, BatchTime(time), kept);
                }
            }
            prop_assert_eq!(found, twin(spec, &epochs));
        }
    }

    #[test]
    fn a_long_window_is_put_together_of_few_spans() {
        let spec = spec(60_000, 1000);
        let mut windows = Windows::<Numbers>::new(spec, Spans::Combined);
        let mut combined = 0;
        for second in 1..=1000 {
            let mut counting = |parts: &[&Numbers]| {
                combined += 1;
                combine(parts)
            };
            let epoch = Epoch(second as u64);
            let time = BatchTime(second * 1000);
            let ended = windows.advance(epoch, time, Some(vec![second]), &mut counting);
            for window in ended.unwrap() {
                assert!(window.spans.len() <= 11, "{} spans", window.spans.len());
            }
        }
        assert!(combined < 2000, "{combined} times combined for 1000 panes");
        assert!(windows.kept().count() <= 60);
    }

    #[test]
    fn what_cannot_be_a_window_is_refused() {
        let new = |length, slide| {
            WindowSpec::new(Duration::from_micros(length), Duration::from_micros(slide))
        };
        assert!(new(1_000_000, 1500).is_err());
        assert!(new(1_000_000, 2_000_000).is_err());
        assert!(new(0, 0).is_err());
        assert!(new(1_500_000, 1_000_000).is_ok());
    }
}
