//! `fsmon convert`: binary streams as Parquet, Perfetto traces, CSV and JSON.
//!
//! ```text
//!  inputs ──► reader ──► blocks ──► world ──► parquet · perfetto ──► file beside ──► rename
//!                          └──────► lines of fsmon decode ──────┘
//! ```
//!
//! A separate program, so that the monitor does not have its dependencies. Memory is bounded: it reads blocks
//! one by one and writes rows in groups. Only a trace needs all process images before it can be written.

#![forbid(unsafe_code)]

mod args;
mod error;
mod feed;
mod inputs;
mod limits;
mod output;
mod parquet;
mod perfetto;
mod text;
mod words;
mod world;

use args::{Args, Format};
use clap::Parser;
use error::{Error, Result};
use feed::{Fed, feed};
use fsmon_present::Format as Lines;
use fsmon_present::arguments::with_arguments_escaped;
use fsmon_present::message::{self, counted, print_panics, shown};
use fsmon_store::survive_file_limit;
use inputs::{Input, inputs};
use output::Out;
use std::process::ExitCode;

fn main() -> ExitCode {
    print_panics();
    survive_file_limit();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return args::explain(&with_arguments_escaped(error)),
    };
    match run(&args) {
        Ok(()) | Err(Error::ClosedPipe) => ExitCode::SUCCESS,
        Err(error) => {
            message::print(error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if !args.partition.is_empty() && args.to != Format::Parquet {
        return Err(Error::new("--partition is for --to parquet; leave it out"));
    }
    let inputs = inputs(&args.inputs)?;
    let output = args.output.canonicalize().ok();
    if output.is_some() && args.inputs.iter().any(|input| input.canonicalize().ok() == output) {
        let output = shown(&args.output);
        return Err(Error::new(format!("{output} is an input; name another file with -o")));
    }
    let fed = match args.to {
        Format::Json => text(args, &inputs, Lines::Json),
        Format::Csv => text(args, &inputs, Lines::Csv),
        Format::Parquet => parquet::convert(args, &inputs),
        Format::Perfetto => perfetto::convert(args, inputs),
    }?;
    match fed.gaps {
        0 => Ok(()),
        gaps => {
            let places = counted(gaps, "place", "places");
            Err(Error::new(format!(
                "the input is damaged in {places}; everything else was converted"
            )))
        }
    }
}

fn text(args: &Args, inputs: &[Input], format: Lines) -> Result<Fed> {
    let mut text = text::Text::new(format, Out::new(&args.output, false)?)?;
    let fed = feed(inputs, &mut text, true)?;
    text.finish()?;
    Ok(fed)
}
