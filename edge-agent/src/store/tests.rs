use std::fs;

use tempfile::TempDir;
use uuid::Uuid;

use super::faults::{Budget, FaultyFiles, FragileFiles, Loss};
use super::*;

const CONTENT: [u8; 32] = [7; 32];
const RESULT: Uuid = Uuid::from_u128(0x1234);

fn accept(store: &Store, bytes: &[u8]) -> Accepted {
    store.stage(bytes, 1000).unwrap().commit(Origin::Unknown).unwrap()
}

fn state(store: &Store, id: ImageId) -> Option<ImageState> {
    store.image(id).unwrap().map(|record| record.state)
}

fn files_in(dir: &TempDir, folder: &str) -> usize {
    fs::read_dir(dir.path().join(folder)).unwrap().count()
}

#[test]
fn an_image_goes_its_way_and_its_file_goes_at_the_end() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = accept(&store, b"pixels").id();
    assert_eq!(store.oldest_received().unwrap(), Some(id));
    let begun = store.begin_analysis(id).unwrap();
    assert_eq!(begun, Analysis::Run { attempt: 1, bytes: ImageBytes::Read(b"pixels".to_vec()) });
    assert_eq!(store.enqueue(id, RESULT, &CONTENT, b"{}").unwrap(), Enqueued::New);
    assert_eq!(store.oldest_received().unwrap(), None);
    assert_eq!(files_in(&dir, "images"), 1);
    assert!(store.finish(RESULT).unwrap());
    assert_eq!(state(&store, id), Some(ImageState::Done));
    assert_eq!(files_in(&dir, "images"), 0);
    assert_eq!(store.next_due().unwrap(), Next::Empty);
    assert!(!store.finish(RESULT).unwrap(), "a second acknowledgement finds nothing");
}

#[test]
fn the_same_bytes_are_one_image_in_every_state() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = accept(&store, b"a").id();
    assert_eq!(accept(&store, b"a"), Accepted::Duplicate(id));
    store.enqueue(id, RESULT, &CONTENT, b"{}").unwrap();
    assert_eq!(accept(&store, b"a"), Accepted::Duplicate(id));
    store.finish(RESULT).unwrap();
    assert_eq!(accept(&store, b"a"), Accepted::Duplicate(id));
    assert_eq!((files_in(&dir, "incoming"), files_in(&dir, "images")), (0, 0));
}

#[test]
fn every_cut_resumes_where_it_was() {
    let dir = TempDir::new().unwrap();
    let open = || Store::open(dir.path()).unwrap();
    let id = accept(&open(), b"pixels").id();
    assert_eq!(open().oldest_received().unwrap(), Some(id), "cut after acceptance");
    open().begin_analysis(id).unwrap();
    assert_eq!(open().oldest_received().unwrap(), Some(id), "cut during analysis");
    open().enqueue(id, RESULT, &CONTENT, b"envelope").unwrap();
    let Next::Send(due) = open().next_due().unwrap() else { panic!("cut before sending") };
    assert_eq!((due.result_id, &due.envelope[..]), (RESULT, &b"envelope"[..]));
    assert_eq!((due.attempts, due.delivered), (0, false));
    assert!(due.received_at_ms.is_some());
    open().count_sending(RESULT).unwrap();
    let replay = Due { attempts: 1, ..due };
    assert_eq!(open().next_due().unwrap(), Next::Send(replay.clone()), "cut before the broker's word");
    open().await_ack(RESULT, 3_600_000).unwrap();
    let again = Due { delivered: true, ..replay };
    assert_eq!(open().next_due().unwrap(), Next::Send(again), "cut before central's word");
    open().finish(RESULT).unwrap();
    assert_eq!(open().next_due().unwrap(), Next::Empty);
    assert_eq!(state(&open(), id), Some(ImageState::Done));
}

#[test]
fn leftovers_of_a_crash_go_and_what_was_promised_stays() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let waiting = accept(&store, b"waiting").id();
    let aside = accept(&store, b"aside").id();
    store.set_aside(aside, "no image").unwrap();
    drop(store);
    // As if cut while it arrived, and between rename and commit.
    fs::write(dir.path().join("incoming/x.part"), b"half").unwrap();
    fs::write(dir.path().join("images").join(ImageId::of(b"orphan").to_hex()), b"orphan").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((files_in(&dir, "incoming"), files_in(&dir, "images")), (0, 2));
    assert!(matches!(store.begin_analysis(waiting).unwrap(), Analysis::Run { .. }));
    assert_eq!(state(&store, aside), Some(ImageState::SetAside("no image".into())));
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_nothing_half_accepted() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::unlimited();
    let store = Store::open_with(
        dir.path(),
        Box::new(FaultyFiles { budget: budget.clone() }),
        StoreConfig::default(),
    )
    .unwrap();
    let take = |bytes: &[u8], kept: bool| {
        let mut incoming = if kept { store.incoming_kept(1000)? } else { store.incoming(1000)? };
        incoming.write(bytes)?;
        incoming.finish()?.commit(Origin::Unknown)
    };
    for (bytes, kept) in [(&b"pixels"[..], false), (b"other pixels", true)] {
        let id = ImageId::of(bytes);
        let mut steps = 0;
        // create, write, sync, rename, sync of the folder; one more step is allowed each time.
        loop {
            budget.set(steps);
            match take(bytes, kept) {
                Ok(accepted) => break assert_eq!(accepted, Accepted::New(id)),
                Err(_) => assert_eq!(store.image(id).unwrap(), None, "after {steps} steps"),
            }
            steps += 1;
        }
        assert_eq!(steps, 5);
    }
    budget.set(usize::MAX);
    // Beside the one that was taken: those that failed have no place in memory.
    let places: Vec<Incoming> = (0..3).map(|_| store.incoming_kept(9).unwrap()).collect();
    assert_eq!(places.iter().filter(|incoming| incoming.staged.is_kept()).count(), 2);
    drop(places);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    for bytes in [&b"pixels"[..], b"other pixels"] {
        assert!(matches!(store.begin_analysis(ImageId::of(bytes)).unwrap(), Analysis::Run { .. }));
    }
    assert_eq!((files_in(&dir, "incoming"), files_in(&dir, "images")), (0, 2));
}

#[test]
fn an_image_set_aside_keeps_its_file_when_it_cannot_be_taken_again() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::unlimited();
    let files = Box::new(FaultyFiles { budget: budget.clone() });
    let store = Store::open_with(dir.path(), files, StoreConfig::default()).unwrap();
    let id = accept(&store, b"pixels").id();
    store.set_aside(id, "blurred").unwrap();
    let staged = store.stage(&b"pixels"[..], 1000).unwrap();
    // The rename succeeds, the sync of the folder does not.
    budget.fail_once_after(1);
    assert!(staged.commit(Origin::Unknown).is_err());
    assert!(matches!(state(&store, id), Some(ImageState::SetAside(_))));
    assert_eq!(files_in(&dir, "images"), 1);
}

#[test]
fn a_full_database_refuses_and_keeps_what_it_has() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = accept(&store, b"first").id();
    let pages: i64 = store.db().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    store.db().pragma_update(None, "max_page_count", pages).unwrap();
    let error = store.enqueue(first, RESULT, &CONTENT, &vec![b' '; 200_000]).unwrap_err();
    assert!(error.to_string().contains("disk"), "{error}");
    assert_eq!(state(&store, first), Some(ImageState::Received));
    store.db().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert_eq!(store.enqueue(first, RESULT, &CONTENT, &vec![b' '; 200_000]).unwrap(), Enqueued::New);
}

#[test]
fn an_image_that_never_ends_is_set_aside_across_restarts() {
    let dir = TempDir::new().unwrap();
    let id = accept(&Store::open(dir.path()).unwrap(), b"killer").id();
    for attempt in 1..=MAX_ATTEMPTS {
        let begun = Store::open(dir.path()).unwrap().begin_analysis(id).unwrap();
        assert_eq!(begun, Analysis::Run { attempt, bytes: ImageBytes::Read(b"killer".to_vec()) });
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.begin_analysis(id).unwrap(), Analysis::Skip);
    assert!(
        matches!(state(&store, id), Some(ImageState::SetAside(reason)) if reason.contains("never ended"))
    );
    assert_eq!(store.census().unwrap().set_aside, 1);
    assert_eq!(files_in(&dir, "images"), 1, "the file stays for a person");
}

#[test]
fn an_image_that_was_set_aside_and_is_sent_again_is_taken_anew() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = accept(&store, b"pixels").id();
    fs::write(store.image_path(id), b"rotten").unwrap();
    assert_eq!(store.begin_analysis(id).unwrap(), Analysis::Skip);
    assert_eq!(accept(&store, b"pixels"), Accepted::New(id));
    assert_eq!(
        store.begin_analysis(id).unwrap(),
        Analysis::Run { attempt: 1, bytes: ImageBytes::Read(b"pixels".to_vec()) }
    );
}

#[test]
fn a_clock_that_is_set_back_does_not_hold_results_up() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = accept(&store, b"pixels").id();
    store.enqueue(id, RESULT, &CONTENT, b"{}").unwrap();
    store.postpone(RESULT, 60_000).unwrap();
    assert!(matches!(store.next_due().unwrap(), Next::Wait(_)));
    // What a minute looks like after the clock went back by a day.
    store.postpone(RESULT, 86_400_000 + 60_000).unwrap();
    assert!(matches!(store.next_due().unwrap(), Next::Send(_)));
}

#[test]
fn damage_on_disk_is_noticed_and_set_aside() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (changed, gone) = (accept(&store, b"changed").id(), accept(&store, b"gone").id());
    fs::write(store.image_path(changed), b"chAnged").unwrap();
    fs::remove_file(store.image_path(gone)).unwrap();
    for id in [changed, gone] {
        assert_eq!(store.begin_analysis(id).unwrap(), Analysis::Skip);
        assert!(
            matches!(state(&store, id), Some(ImageState::SetAside(reason)) if reason.contains("damaged"))
        );
    }
}

#[test]
fn a_read_error_leaves_the_image_waiting_and_costs_no_attempt() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::unlimited();
    let store = Store::open_with(
        dir.path(),
        Box::new(FaultyFiles { budget: budget.clone() }),
        StoreConfig::default(),
    )
    .unwrap();
    let id = accept(&store, b"pixels").id();
    budget.set(0);
    for _ in 0..=MAX_ATTEMPTS {
        assert!(store.begin_analysis(id).is_err());
    }
    assert_eq!(state(&store, id), Some(ImageState::Received));
    budget.set(usize::MAX);
    assert!(matches!(store.begin_analysis(id).unwrap(), Analysis::Run { attempt: 1, .. }));
}

#[test]
fn too_long_and_unreadable_sources_leave_nothing() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("cable pulled"))
        }
    }
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(store.stage(&[0; 11][..], 10), Err(StoreError::TooLarge { limit: 10 })));
    assert!(matches!(store.stage(Broken, 10), Err(StoreError::Source(_))));
    assert_eq!(files_in(&dir, "incoming"), 0);
    assert_eq!(store.stage(&[0; 10][..], 10).unwrap().id(), ImageId::of(&[0; 10]));
}

#[test]
fn a_staged_image_that_is_not_committed_is_forgotten() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let staged = store.stage(&b"pixels"[..], 10).unwrap();
    let id = staged.id();
    drop(staged);
    assert_eq!(store.image(id).unwrap(), None);
    assert_eq!(files_in(&dir, "incoming"), 0);
}

#[test]
fn results_leave_oldest_first_and_a_refused_one_lets_others_pass() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let results = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for (bytes, result) in [b"a", b"b"].into_iter().zip(results) {
        store.enqueue(accept(&store, bytes).id(), result, &CONTENT, b"{}").unwrap();
    }
    let next = |store: &Store| match store.next_due().unwrap() {
        Next::Send(due) => due.result_id,
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&store), results[0]);
    store.postpone(results[0], 3_600_000).unwrap();
    assert_eq!(next(&store), results[1]);
    assert_eq!(store.census().unwrap().results_waiting, 2);
    store.finish(results[1]).unwrap();
    assert!(matches!(store.next_due().unwrap(), Next::Wait(ms) if ms <= 3_600_000));
}

#[test]
fn a_suspect_comes_last_whenever_it_is_due_and_the_least_tried_first() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let results = [1, 2, 3].map(Uuid::from_u128);
    for (bytes, result) in [b"a", b"b", b"c"].into_iter().zip(results) {
        store.enqueue(accept(&store, bytes).id(), result, &CONTENT, b"{}").unwrap();
    }
    for (result, sendings) in results.into_iter().zip([SUSPECT + 2, SUSPECT + 1, SUSPECT]) {
        (0..sendings).for_each(|_| store.count_sending(result).unwrap());
        store.postpone(result, 0).unwrap();
    }
    for expected in [2, 1, 0].map(|i| results[i]) {
        for lane in [Lane::Backlog, Lane::Fresh] {
            assert!(matches!(store.next_due_in(lane).unwrap(), Next::Send(due) if due.result_id == expected));
        }
        store.finish(expected).unwrap();
    }
}

#[test]
fn the_fresh_lane_takes_the_newest_that_was_never_sent_and_the_backlog_the_oldest() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let results = [1, 2, 3].map(Uuid::from_u128);
    for (bytes, result) in [b"a", b"b", b"c"].into_iter().zip(results) {
        store.enqueue(accept(&store, bytes).id(), result, &CONTENT, b"{}").unwrap();
    }
    let next = |lane| match store.next_due_in(lane).unwrap() {
        Next::Send(due) => due.result_id,
        other => panic!("{other:?}"),
    };
    assert_eq!((next(Lane::Backlog), next(Lane::Fresh)), (results[0], results[2]));
    store.count_sending(results[2]).unwrap();
    assert_eq!(next(Lane::Fresh), results[1], "what was sent once is no longer fresh");
    store.count_sending(results[1]).unwrap();
    store.count_sending(results[0]).unwrap();
    assert_eq!(next(Lane::Fresh), results[0], "without a fresh one both lanes take the oldest");
    store.await_ack(results[0], 3_600_000).unwrap();
    store.await_ack(results[1], 3_600_000).unwrap();
    store.postpone(results[2], 3_600_000).unwrap();
    assert!(matches!(store.next_due().unwrap(), Next::Wait(_)));
    assert_eq!(store.replay_unacknowledged().unwrap(), 2);
    assert_eq!(next(Lane::Backlog), results[0]);
    store.finish(results[0]).unwrap();
    store.finish(results[1]).unwrap();
    assert!(matches!(store.next_due().unwrap(), Next::Wait(_)), "a refused one keeps its pause");
    assert_eq!(store.retry(None).unwrap(), 0);
    assert_eq!(next(Lane::Backlog), results[2]);
}

#[test]
fn retry_gives_what_was_set_aside_to_analysis_again() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (a, b) = (accept(&store, b"a").id(), accept(&store, b"b").id());
    store.begin_analysis(a).unwrap();
    store.set_aside(a, "blurred").unwrap();
    store.set_aside(b, "blurred").unwrap();
    assert_eq!(store.retry(Some(a)).unwrap(), 1);
    assert_eq!(store.oldest_received().unwrap(), Some(a));
    assert!(matches!(store.begin_analysis(a).unwrap(), Analysis::Run { attempt: 1, .. }));
    assert_eq!(store.retry(None).unwrap(), 1);
    assert_eq!(state(&store, b), Some(ImageState::Received));
}

#[test]
fn two_images_with_one_result_id_are_both_done_by_it() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (a, b) = (accept(&store, b"a").id(), accept(&store, b"b").id());
    assert_eq!(store.enqueue(a, RESULT, &CONTENT, b"first").unwrap(), Enqueued::New);
    assert_eq!(store.enqueue(b, RESULT, &CONTENT, b"second").unwrap(), Enqueued::Duplicate);
    store.finish(RESULT).unwrap();
    assert_eq!((state(&store, a), state(&store, b)), (Some(ImageState::Done), Some(ImageState::Done)));
}

#[test]
fn one_agent_a_folder() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
    drop(store);
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn a_later_format_is_refused() {
    let dir = TempDir::new().unwrap();
    Store::open(dir.path()).unwrap().db().pragma_update(None, "user_version", 9).unwrap();
    let error = Store::open(dir.path()).err().expect("format 9 is unknown").to_string();
    assert!(error.contains("format 9") && error.contains("newer agent"), "{error}");
}

#[test]
fn files_are_remembered_with_their_fate() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let fingerprint = |n| Fingerprint::of(Path::new("/in/a.png"), n, 0);
    store.stage(&b"a"[..], 10).unwrap().commit(Origin::File(&fingerprint(1))).unwrap();
    store.refuse(&fingerprint(2), "too large").unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.taken(&fingerprint(1)).unwrap(), Some(Taken::Accepted));
    assert_eq!(store.taken(&fingerprint(2)).unwrap(), Some(Taken::Refused("too large".into())));
    assert_eq!(store.taken(&fingerprint(3)).unwrap(), None);
    assert_eq!(store.census().unwrap().set_aside, 1);
}

#[tokio::test]
async fn async_callers_get_the_same_answers() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = store.run(|s| s.stage(&b"a"[..], 10)?.commit(Origin::Unknown)).await.unwrap().id();
    assert_eq!(store.run(Store::oldest_received).await.unwrap(), Some(id));
}

/// The life of two images as the stages drive it, up to where the power goes. Returns what was promised.
fn live(store: &Store) -> (Option<ImageId>, Option<ImageId>) {
    let take = |bytes: &[u8]| {
        let staged = store.stage(bytes, 1000).ok()?;
        staged.commit(Origin::Unknown).ok().map(Accepted::id)
    };
    let first = take(b"the first image");
    if let Some(id) = first
        && let Ok(Analysis::Run { .. }) = store.begin_analysis(id)
    {
        store.enqueue(id, RESULT, &CONTENT, b"{}").unwrap();
    }
    let second = take(b"the second image");
    // Delivered: its file goes.
    store.finish(RESULT).unwrap();
    (first, second)
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_promised() {
    let whole = (1..).find(|operations| {
        let dir = TempDir::new().unwrap();
        let files = FragileFiles::with(*operations);
        let store = Store::open_with(dir.path(), Box::new(files), StoreConfig::default()).unwrap();
        matches!(live(&store), (Some(_), Some(_)))
    });
    // And one more, so that the last removal is in it.
    let operations = 0..=whole.unwrap() + 1;
    for (cut_after, loss) in operations
        .flat_map(|cut| [Loss::Nothing, Loss::Half, Loss::Content, Loss::Name].map(|loss| (cut, loss)))
    {
        let dir = TempDir::new().unwrap();
        let files = FragileFiles::with(cut_after);
        let store = Store::open_with(dir.path(), Box::new(files.clone()), StoreConfig::default()).unwrap();
        let (first, second) = live(&store);
        files.cut(loss);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let case = format!("cut after {cut_after} operations, losing {loss:?}");
        for id in [first, second].into_iter().flatten() {
            match state(&store, id) {
                Some(ImageState::Received) => {
                    assert!(matches!(store.begin_analysis(id).unwrap(), Analysis::Run { .. }), "{case}");
                }
                Some(ImageState::Done) => assert_eq!(first, Some(id), "{case}"),
                other => panic!("{case}: {other:?}"),
            }
        }
        // What was not promised is not there, or whole.
        while let Some(id) = store.oldest_received().unwrap() {
            assert!(matches!(store.begin_analysis(id).unwrap(), Analysis::Run { .. }), "{case}");
            store.set_aside(id, "seen").unwrap();
        }
        assert_eq!(files_in(&dir, "incoming"), 0, "{case}");
    }
}

#[test]
fn a_damaged_database_is_rebuilt_from_the_images() {
    for damage in [&b"this is no database"[..], &[]] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(dir.path()).unwrap();
        let (waiting, done) = (accept(&store, b"waiting").id(), accept(&store, b"done").id());
        store.enqueue(done, RESULT, &CONTENT, b"{}").unwrap();
        store.finish(RESULT).unwrap();
        drop(store);
        let mut bytes = fs::read(&path).unwrap();
        if damage.is_empty() {
            // Its header is sound, its pages are not.
            bytes[200..].fill(0xAA);
        } else {
            bytes = damage.to_vec();
        }
        fs::write(&path, bytes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.rebuilt(), Some(1));
        assert_eq!((state(&store, waiting), state(&store, done)), (Some(ImageState::Received), None));
        assert!(matches!(store.begin_analysis(waiting).unwrap(), Analysis::Run { .. }));
        assert!(dir.path().join("state.db.damaged-1").exists());
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().rebuilt(), None);
    }
}

#[test]
fn new_images_are_refused_without_room_and_what_is_there_goes_on() {
    let dir = TempDir::new().unwrap();
    let open = |config| Store::open_with(dir.path(), Box::new(OsFiles), config).unwrap();
    let store = open(StoreConfig::default());
    let id = accept(&store, b"pixels").id();
    store.db().execute("UPDATE images SET bytes = 2 << 20", []).unwrap();
    drop(store);
    for config in [
        StoreConfig { reserve_mib: 1 << 40, ..StoreConfig::default() },
        StoreConfig { quota_mib: 2, ..StoreConfig::default() },
    ] {
        let store = open(config);
        let error = store.stage(&b"more"[..], 10).err().unwrap();
        assert!(error.is_full() && error.to_string().contains("`store."), "{error}");
        assert!(matches!(store.begin_analysis(id).unwrap(), Analysis::Run { .. }));
    }
    let store = open(StoreConfig { quota_mib: 2, ..StoreConfig::default() });
    store.enqueue(id, RESULT, &CONTENT, b"{}").unwrap();
    store.finish(RESULT).unwrap();
    accept(&store, b"more");
}

#[test]
fn age_clears_away_what_is_done_or_set_aside_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [waiting, queued, done, aside] =
        [b"waiting", b"queued!", b"done!!!", b"aside!!"].map(|bytes| accept(&store, bytes).id());
    store.enqueue(done, RESULT, &CONTENT, b"{}").unwrap();
    store.finish(RESULT).unwrap();
    store.enqueue(queued, Uuid::from_u128(5), &CONTENT, b"{}").unwrap();
    store.set_aside(aside, "no image").unwrap();
    store.db().execute("UPDATE images SET received_at = 0", []).unwrap();
    drop(store);
    let config = StoreConfig { set_aside_days: 30, ..StoreConfig::default() };
    let store = Store::open_with(dir.path(), Box::new(OsFiles), config).unwrap();
    let states = [waiting, queued, done, aside].map(|id| state(&store, id));
    assert_eq!(states, [Some(ImageState::Received), Some(ImageState::Queued), None, None]);
    assert_eq!(files_in(&dir, "images"), 2);
}

#[test]
fn a_result_that_was_delivered_is_not_sent_for_another_file_of_the_same_pixels() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = accept(&store, b"first").id();
    assert_eq!(store.is_content_of(RESULT, &CONTENT).unwrap(), None);
    store.enqueue(first, RESULT, &CONTENT, b"{}").unwrap();
    assert_eq!(store.is_content_of(RESULT, &CONTENT).unwrap(), Some(true));
    assert_eq!(store.is_content_of(RESULT, &[8; 32]).unwrap(), Some(false));
    assert_eq!(store.first_file(RESULT).unwrap().as_deref(), Some(&b"first"[..]));
    store.finish(RESULT).unwrap();
    assert_eq!(store.first_file(RESULT).unwrap(), None);
    let again = accept(&store, b"again").id();
    assert_eq!(store.enqueue(again, RESULT, &CONTENT, b"{}").unwrap(), Enqueued::Delivered);
    assert_eq!((store.next_due().unwrap(), state(&store, again)), (Next::Empty, Some(ImageState::Done)));
    assert_eq!(files_in(&dir, "images"), 0);
}

/// An image that is kept in memory.
fn keep(store: &Store, bytes: &[u8]) -> ImageId {
    let mut incoming = store.incoming_kept(1000).unwrap();
    for piece in bytes.chunks(3) {
        incoming.write(piece).unwrap();
    }
    incoming.finish().unwrap().commit(Origin::Unknown).unwrap().id()
}

fn is_read(analysis: &Analysis, expected: &[u8]) -> bool {
    let Analysis::Run { bytes, .. } = analysis else { panic!("{analysis:?}") };
    assert_eq!(&**bytes, expected);
    matches!(bytes, ImageBytes::Read(_))
}

#[test]
fn the_bytes_of_a_few_images_are_kept_until_their_analysis_and_those_of_others_read() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let images = [&b"first"[..], b"second", b"third", b"fourth"];
    let ids = images.map(|bytes| keep(&store, bytes));
    let held = ids.map(|id| store.begin_analysis(id).unwrap());
    assert_eq!([0, 1, 2, 3].map(|i| is_read(&held[i], images[i])), [false, false, false, true]);
    // Another attempt reads; places are free again.
    drop(held);
    assert!(is_read(&store.begin_analysis(ids[0]).unwrap(), images[0]));
    assert!(!is_read(&store.begin_analysis(keep(&store, b"fifth")).unwrap(), b"fifth"));
}

#[test]
fn what_is_too_long_to_keep_is_the_same_image() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut incoming = store.incoming_kept(1 << 30).unwrap();
    let piece: Vec<u8> = (0..(1 << 20)).map(|i| i as u8).collect();
    for _ in 0..33 {
        incoming.write(&piece).unwrap();
    }
    let staged = incoming.finish().unwrap();
    assert!(!staged.is_kept());
    assert_eq!(staged.id(), ImageId::of(&piece.repeat(33)));
}

#[test]
fn images_that_will_not_be_analysed_keep_no_place() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for n in 0..4 {
        let id = keep(&store, format!("image {n}").as_bytes());
        assert!(matches!(
            store.stage(format!("image {n}").as_bytes(), 10).unwrap().commit(Origin::Unknown),
            Ok(Accepted::Duplicate(_))
        ));
        store.set_aside(id, "a person's doing").unwrap();
    }
    assert_eq!(store.oldest_received().unwrap(), None);
    assert!(!is_read(&store.begin_analysis(keep(&store, b"next")).unwrap(), b"next"));
}
