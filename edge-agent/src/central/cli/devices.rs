use clap::Args;
use serde_json::{Value, json};

use super::{CentralError, Common, print, table, time};
use crate::central::database::DeviceRecord;
use crate::exit_code::Exit;

/// List the fleet: who is online, with which model, and what waits there
#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    #[command(flatten)]
    common: Common,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(args: &DevicesArgs) -> Result<Exit, CentralError> {
    let (_, database) = args.common.open().await?;
    let devices = database.devices().await?;
    if args.json {
        for device in &devices {
            print(&as_json(device).to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let mut table = table([
        "device",
        "status",
        "since",
        "model",
        "waiting",
        "oldest unsent",
        "set aside",
        "told at",
        "results",
        "last result",
    ]);
    for device in &devices {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let health = device.health.as_ref();
        table.add_row([
            format!("{}/{}", device.device.site, device.device.device),
            status(device),
            or_none(device.status.as_ref().map(|(_, at)| time(*at))),
            or_none(
                device.birth.as_ref().map(|b| super::plain(&format!("{} {}", b.model.name, b.model.version))),
            ),
            or_none(health.map(|(h, _)| format!("{} + {}", h.images_waiting, h.results_waiting))),
            or_none(health.and_then(|(h, _)| h.oldest_unsent_s).map(|s| format!("{s} s"))),
            or_none(health.map(|(h, _)| h.set_aside.to_string())),
            or_none(health.map(|(_, at)| time(*at))),
            device.results.to_string(),
            or_none(device.last_result_at.map(time)),
        ]);
    }
    print(&table.to_string())?;
    Ok(Exit::Ok)
}

fn status(device: &DeviceRecord) -> String {
    device
        .status
        .as_ref()
        .map_or_else(|| "unknown".into(), |(status, _)| format!("{:?}", status.status).to_lowercase())
}

fn as_json(device: &DeviceRecord) -> Value {
    json!({
        "site": device.device.site,
        "device": device.device.device,
        "status": device.status.as_ref().map(|(s, _)| s.status),
        "status_at": device.status.as_ref().map(|(_, at)| time(*at)),
        "birth": device.birth,
        "health": device.health.as_ref().map(|(h, _)| h),
        "health_at": device.health.as_ref().map(|(_, at)| time(*at)),
        "results": device.results,
        "last_result_at": device.last_result_at.map(time),
    })
}
