use super::{plain, table, time};
use crate::central::database::{HandOn, ResultRecord};

/// One result for people.
pub(super) fn text(record: &ResultRecord, hand_on: Option<&HandOn>) -> String {
    let envelope = &record.envelope;
    let image = &envelope.image;
    let uid = |uid: Option<&shared::uid::Uid>| uid.map_or("none".to_owned(), ToString::to_string);
    let mut lines = vec![
        format!("result    {}", envelope.result_id),
        format!("device    {}/{}", record.device.site, record.device.device),
        format!("came at   {}, again {} times", time(record.received_at), record.repeats),
        format!("model     {} {}, {}", envelope.model.name, envelope.model.version, envelope.model.sha256),
        format!("study     {}", uid(image.study_instance_uid.as_ref())),
        format!("image     {}, {} × {} px", image.sop_instance_uid, image.cols, image.rows),
    ];
    if record.conflicts > 0 {
        lines.push(format!(
            "CONFLICT  came {} times with other content, which was set aside; this is the first",
            record.conflicts
        ));
    }
    let mut findings = table(["finding", "code", "score", "area px", "area"]);
    for f in &envelope.findings {
        findings.add_row([
            plain(&f.label),
            plain(&format!("{} {}", f.code.scheme, f.code.value)),
            format!("{:.2}", f.score),
            f.area_px.to_string(),
            format!("{:.1} %", f.area_fraction * 100.0),
        ]);
    }
    lines.push(findings.to_string());
    lines.extend(envelope.measurements.cardiothoracic_ratio.iter().map(ToString::to_string));
    lines.extend(envelope.quality.iter().map(|note| plain(&format!("{}: {}", note.code, note.message))));
    if let Some(hand_on) = hand_on {
        let reason = hand_on.reason.as_deref().map(|r| format!(": {}", plain(r))).unwrap_or_default();
        lines.push(format!("PACS      {} after {} attempts{reason}", hand_on.state.name(), hand_on.attempts));
    }
    lines.join("\n")
}
