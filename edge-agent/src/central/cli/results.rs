use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{CentralError, Common, export, plain, print, show, table, time};
use crate::central::database::Filter;
use crate::central::watch::Seen;
use crate::exit_code::Exit;

#[derive(Debug, Subcommand)]
pub(super) enum ResultsCommand {
    /// List results, the newest first
    List(ListArgs),
    /// Show one result
    Show(ShowArgs),
    /// Write one result to a folder: message, masks, picture, DICOM objects
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// Only of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Only of this Study Instance UID
    #[arg(long, value_name = "UID")]
    study: Option<String>,
    /// Only of this SOP Instance UID
    #[arg(long, value_name = "UID")]
    image: Option<String>,
    /// Only results that came again with other content
    #[arg(long)]
    conflicts: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// The result
    id: Uuid,
    /// Print the message as it came
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    common: Common,
    /// The result
    id: Uuid,
    /// Folder; created if absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The radiograph itself, to draw the masks over; it does not cross the wire
    #[arg(long, value_name = "FILE")]
    radiograph: Option<PathBuf>,
}

pub(super) async fn main(command: ResultsCommand) -> Result<Exit, CentralError> {
    match command {
        ResultsCommand::List(args) => list(args).await,
        ResultsCommand::Show(args) => {
            let (_, database) = args.common.open().await?;
            let record = database.result(args.id).await?.ok_or(CentralError::NoResult(args.id))?;
            if args.json {
                print(&record.json)?;
            } else {
                let hand_on = database.hand_on(args.id).await?;
                print(&show::text(&record, hand_on.as_ref()))?;
            }
            Ok(Exit::Ok)
        }
        ResultsCommand::Export(args) => {
            let (_, database) = args.common.open().await?;
            let record = database.result(args.id).await?.ok_or(CentralError::NoResult(args.id))?;
            for written in export::export(&record, &args.out, args.radiograph.as_deref())? {
                print(&written.display().to_string())?;
            }
            Ok(Exit::Ok)
        }
    }
}

async fn list(args: ListArgs) -> Result<Exit, CentralError> {
    let (_, database) = args.common.open().await?;
    let filter = Filter {
        site: args.site,
        device: args.device,
        study_uid: args.study,
        sop_uid: args.image,
        conflicts: args.conflicts,
    };
    let records = database.results(&filter, args.limit).await?;
    if args.json {
        for r in &records {
            let mut value = json!(Seen::new(&r.device, &r.envelope));
            value["received_at"] = time(r.received_at).into();
            (value["repeats"], value["conflicts"]) = (r.repeats.into(), r.conflicts.into());
            print(&value.to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let mut table = table(["came at", "device", "result", "found", "again"]);
    for r in &records {
        let found: Vec<String> = r
            .envelope
            .findings
            .iter()
            .filter(|f| f.area_px > 0)
            .map(|f| plain(&format!("{} {:.2}", f.label, f.score)))
            .collect();
        let again = match r.conflicts {
            0 => r.repeats.to_string(),
            conflicts => format!("{}, {conflicts} with other content", r.repeats),
        };
        table.add_row([
            time(r.received_at),
            format!("{}/{}", r.device.site, r.device.device),
            r.envelope.result_id.to_string(),
            found.join(", "),
            again,
        ]);
    }
    print(&table.to_string())?;
    Ok(Exit::Ok)
}
