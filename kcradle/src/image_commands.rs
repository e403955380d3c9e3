//! `kcradle image ls|rm|prune`: looks after the content store.

use anyhow::Context as _;
use image::{ImageSummary, Store};

use crate::cli::{ImageCommand, ImageLsArgs, ImagePruneArgs, ImageRmArgs};
use crate::failure::Failure;
use crate::home;
use crate::size::human;
use crate::stdout;
use crate::table;

/// Runs the command.
pub(crate) fn run(command: &ImageCommand) -> Result<u8, Failure> {
    let store = home::store(&home::find()?)?;
    match command {
        ImageCommand::Ls(args) => ls(&store, args),
        ImageCommand::Rm(args) => rm(&store, args),
        ImageCommand::Prune(args) => prune(&store, args),
    }
}

fn ls(store: &Store, args: &ImageLsArgs) -> Result<u8, Failure> {
    let images = store.list().context("cannot list the images")?;
    if args.json {
        stdout::line(format_args!(
            "{}",
            serde_json::to_string_pretty(&images).context("cannot print the list")?
        ));
    } else if args.quiet {
        images.iter().for_each(|image| stdout::line(format_args!("{}", name(image))));
    } else {
        let row = |image: &ImageSummary| {
            vec![
                image.reference.clone().unwrap_or_else(|| "<none>".to_owned()),
                image.id.short(),
                image.created.get(..19).unwrap_or(&image.created).replace('T', " "),
                image.layers.to_string(),
                human(image.size),
                image.pods.len().to_string(),
            ]
        };
        table::print(&["IMAGE", "ID", "CREATED", "LAYERS", "SIZE", "PODS"], images.iter().map(row).collect());
    }
    Ok(0)
}

/// What `image rm` takes.
fn name(image: &ImageSummary) -> String {
    image.reference.clone().unwrap_or_else(|| image.id.to_string())
}

fn rm(store: &Store, args: &ImageRmArgs) -> Result<u8, Failure> {
    let mut code = 0;
    for image in &args.images {
        match store.remove(image).with_context(|| format!("cannot remove image {image}")) {
            Ok(names) => names.iter().for_each(|name| stdout::line(format_args!("{name}"))),
            Err(error) => {
                let failure = Failure::from(error);
                failure.print();
                code = failure.exit_code();
            }
        }
    }
    Ok(code)
}

fn prune(store: &Store, args: &ImagePruneArgs) -> Result<u8, Failure> {
    let pruned = store.prune(args.all).context("cannot clear the image store")?;
    if args.json {
        stdout::line(format_args!(
            "{}",
            serde_json::to_string(&pruned).context("cannot print what was removed")?
        ));
    } else {
        stdout::line(format_args!(
            "removed {} images and {} layers: {} are free again",
            pruned.images,
            pruned.layers,
            human(pruned.bytes)
        ));
    }
    Ok(0)
}
