//! The formats of lines, as the options set them up: the same for live and recorded changes.

use crate::args::query::QueryArgs;
use crate::args::{DecodeArgs, WatchArgs};
use crate::remedies;
use fsmon_present::TimeFormat;
use fsmon_present::text::{csv, human, human::Human, json::Json};

/// What the options say about lines.
#[derive(Clone, Copy)]
pub(crate) struct LineOptions {
    time: Option<TimeFormat>,
    chain: bool,
    size: bool,
    cmdline: bool,
}

impl From<&WatchArgs> for LineOptions {
    fn from(args: &WatchArgs) -> Self {
        let (time, chain, cmdline) = (args.time, args.chain, args.cmdline);
        LineOptions { time, chain, size: args.size.is_some(), cmdline }
    }
}

impl From<&DecodeArgs> for LineOptions {
    fn from(args: &DecodeArgs) -> Self {
        LineOptions { time: args.time, chain: args.chain, size: false, cmdline: args.cmdline }
    }
}

impl From<&QueryArgs> for LineOptions {
    fn from(args: &QueryArgs) -> Self {
        LineOptions { time: args.time, chain: args.chain, size: false, cmdline: args.cmdline }
    }
}

impl LineOptions {
    /// Those of the lines of an answer: with ancestors and command lines.
    pub(crate) fn of_answer(time: Option<TimeFormat>) -> Self {
        LineOptions { time, chain: true, size: false, cmdline: true }
    }

    pub(crate) fn human(self, is_terminal: bool) -> Human {
        let human = Human::new(self.chain, human::wants_colours(is_terminal));
        human.with_time(self.time).with_names(remedies::option).with_cmdline(self.cmdline)
    }

    pub(crate) fn json(self) -> Json {
        Json::new(self.chain).with_cmdline(self.cmdline)
    }

    pub(crate) fn csv(self) -> csv::Plain {
        csv::Plain::new(self.chain).with_size(self.size).with_cmdline(self.cmdline)
    }

    pub(crate) fn csv_of_terminal(self) -> csv::Terminal {
        csv::Terminal::new(self.chain).with_size(self.size).with_cmdline(self.cmdline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;
    use fsmon_format::kind;
    use fsmon_format::record::{Build, Loss, Reason, Record};
    use fsmon_format::stream::BLOCK_CAPACITY;
    use fsmon_present::filter::{Criteria, Filter, Source};
    use fsmon_present::pipeline::Pipeline;
    use fsmon_present::text::Lines;
    use fsmon_present::world::World;

    /// The line of a loss.
    fn line(human: Human, reason: Reason) -> String {
        let source = Source::Recorded;
        let filter = Filter::new(&Criteria::default(), kind::EVERY, source, BLOCK_CAPACITY);
        let world = World::recorded(BLOCK_CAPACITY);
        let mut pipeline = Pipeline::new(world, filter.expect("valid"), Lines(human), None);
        let loss = Loss {
            tag: 0,
            slots: 1,
            flags: 0.into(),
            reason: reason.code().into(),
            first_ns: 0.into(),
            last_ns: 0.into(),
            count: 2.into(),
            total: 2.into(),
            dir: 0.into(),
            reserved: [0; 20],
        };
        let (mut build, mut out) = (Build::default(), Vec::new());
        let (record, _) = Record::split_first(build.loss(loss)).expect("a record");
        pipeline.take(&record, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_loss_names_the_option_of_its_limit() {
        let watch = Cli::parse_from(["fsmon"]).watch;
        for options in [LineOptions::from(&watch), LineOptions::from(&DecodeArgs::default())] {
            for (reason, words) in [
                (Reason::DirsMax, "more directories than --max-dirs, "),
                (Reason::ProcessesMax, "more processes than --max-processes, "),
            ] {
                let line = line(options.human(false), reason);
                assert!(line.contains("LOSS") && line.contains(words), "{line}");
            }
        }
    }
}
