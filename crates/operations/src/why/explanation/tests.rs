use super::*;

const HERE: InSource = InSource::Here {
    inbox: 7,
    fetched: true,
};

fn equal() -> Facts {
    Facts {
        tenant: TenantId(1),
        conversation: 47,
        source: HERE,
        target: InTarget::Live,
        written_by: Some(RunId(18)),
        differing: Vec::new(),
        signals: Vec::new(),
        waits_for_digests: false,
        refusal: None,
        newest_chunk: None,
        planning: None,
        writer_open: false,
        never_synced: false,
        stopped: None,
        held_by: None,
        next_due_in: TimeDelta::milliseconds(42_700),
    }
}

fn different() -> Facts {
    Facts {
        differing: vec!["status".into(), "priority".into()],
        ..equal()
    }
}

fn chunk(status: ChunkStatus, error: Option<&str>) -> Option<Covering> {
    Some(Covering {
        id: ChunkId {
            run_id: RunId(19),
            seq: 3,
        },
        status,
        run_type: RunType::Incremental,
        error: error.map(Into::into),
    })
}

fn says(facts: &Facts, case: Case, words: &[&str]) {
    let (found, text) = explain(facts);
    assert_eq!(found, case, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

fn signals(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn equal_rows_are_equal_even_with_an_open_writer_or_a_signal() {
    says(&equal(), Case::Equal, &["equal in every column"]);
    let looked_at = Facts {
        signals: signals(&["conversations"]),
        ..equal()
    };
    says(&looked_at, Case::Equal, &["compares it again (conversations)"]);
    let writer = Facts {
        writer_open: true,
        ..equal()
    };
    says(&writer, Case::EqualWriterOpen, &["once it has committed"]);
}

#[test]
fn a_change_after_the_last_plan_is_taken_by_the_next_sync_or_by_the_open_run() {
    let changed = Facts {
        signals: signals(&["conversations", "digest"]),
        ..different()
    };
    says(
        &changed,
        Case::NextSync,
        &["status, priority differ", "due in 42s", "conversations, digest"],
    );
    let due = Facts {
        next_due_in: TimeDelta::seconds(-5),
        held_by: Some("no producer".into()),
        ..changed.clone()
    };
    says(&due, Case::NextSync, &["due now", "held by: no producer"]);
    let asked = Facts {
        planning: Some((RunId(20), RunType::Incremental, RunStatus::Requested)),
        ..changed.clone()
    };
    says(&asked, Case::BeingPlanned, &["run 20 (incremental, requested)"]);
    let queued = Facts {
        newest_chunk: chunk(ChunkStatus::Queued, None),
        ..changed.clone()
    };
    says(&queued, Case::OnItsWay, &["chunk 19/3 (incremental, queued)"]);
    let retrying = Facts {
        newest_chunk: chunk(ChunkStatus::Pending, Some("SQLSTATE 40001")),
        ..changed
    };
    says(
        &retrying,
        Case::OnItsWay,
        &["last attempt failed: SQLSTATE 40001"],
    );
}

#[test]
fn a_stopped_tenant_is_the_first_explanation() {
    let facts = Facts {
        stopped: Some("paused: moving house".into()),
        newest_chunk: chunk(ChunkStatus::Pending, None),
        ..different()
    };
    says(&facts, Case::Stopped, &["paused: moving house", "resumed"]);
}

#[test]
fn a_dead_chunk_is_named_with_the_command_that_retries_it() {
    let dead = Facts {
        newest_chunk: chunk(ChunkStatus::Dead, Some("boom")),
        ..different()
    };
    says(&dead, Case::ChunkFailed, &["19/3", "dead (boom)", "run retry 19"]);
    let found = Facts {
        signals: signals(&["digest"]),
        newest_chunk: chunk(ChunkStatus::Cancelled, None),
        ..different()
    };
    says(
        &found,
        Case::ChunkFailed,
        &["cancelled", "next sync takes it again"],
    );
    // the chunk loaded the row, and the difference is newer
    let done = Facts {
        newest_chunk: chunk(ChunkStatus::Done, None),
        ..different()
    };
    says(
        &done,
        Case::Silent,
        &["verify --tenant 1", "resync --tenant 1 --ids 47"],
    );
}

#[test]
fn a_rejected_conversation_is_named_with_its_side_and_its_chunk() {
    let refusal = Refusal {
        side: "transform".into(),
        error: "column contact_name holds a NUL character".into(),
        chunk: Some(ChunkId {
            run_id: RunId(19),
            seq: 3,
        }),
    };
    let rejected = Facts {
        target: InTarget::Absent,
        refusal: Some(refusal.clone()),
        ..equal()
    };
    says(
        &rejected,
        Case::Rejected,
        &["chunk 19/3", "transform: column", "has no row"],
    );
    let seen_now = Facts {
        refusal: Some(Refusal {
            chunk: None,
            ..refusal
        }),
        ..equal()
    };
    says(&seen_now, Case::Rejected, &["next run", "last valid row"]);
}

#[test]
fn a_deleted_conversation_is_marked_or_will_be() {
    let at = DateTime::UNIX_EPOCH;
    let tombstone = Facts {
        source: InSource::Absent,
        target: InTarget::Deleted { at },
        ..equal()
    };
    says(
        &tombstone,
        Case::Tombstone,
        &["by run 18", "1970-01-01T00:00:00Z"],
    );
    let gone = Facts {
        source: InSource::Absent,
        signals: signals(&["membership"]),
        ..equal()
    };
    says(&gone, Case::Gone, &["not yet marked deleted", "membership"]);
    let never = Facts {
        source: InSource::Absent,
        target: InTarget::Absent,
        ..equal()
    };
    says(&never, Case::NeverExisted, &["never existed"]);
}

#[test]
fn an_unmapped_inbox_and_one_of_another_tenant_are_distinguished() {
    let elsewhere = |owner, target| Facts {
        source: InSource::Elsewhere {
            inbox: Some(9),
            owner,
        },
        target,
        signals: signals(&["membership"]),
        ..equal()
    };
    let nobody = elsewhere(Owner::Nobody, InTarget::Absent);
    says(&nobody, Case::NotTheTenants, &["inbox 9", "no tenant"]);
    let other = elsewhere(Owner::Tenant(TenantId(2)), InTarget::Live);
    says(&other, Case::MovedAway, &["tenant 2's", "not yet marked deleted"]);
    let unmapped = elsewhere(
        Owner::Unmapped,
        InTarget::Deleted {
            at: DateTime::UNIX_EPOCH,
        },
    );
    says(
        &unmapped,
        Case::NotTheTenants,
        &["unmapped", "marked deleted by run 18"],
    );
}

#[test]
fn the_history_of_a_mapped_inbox_waits_for_its_backfill_but_a_change_does_not() {
    let mapped = Facts {
        source: InSource::Here {
            inbox: 7,
            fetched: false,
        },
        target: InTarget::Absent,
        ..equal()
    };
    says(&mapped, Case::BackfillPending, &["inbox 7", "by itself"]);
    let asked = Facts {
        planning: Some((RunId(21), RunType::Backfill, RunStatus::Requested)),
        ..mapped.clone()
    };
    says(&asked, Case::BackfillPending, &["run 21 (requested)"]);
    let changed = Facts {
        signals: signals(&["conversations"]),
        ..mapped
    };
    says(&changed, Case::NextSync, &["no row"]);
}

#[test]
fn a_change_that_only_digests_show_waits_for_their_comparison() {
    let waiting = Facts {
        signals: signals(&["digest"]),
        waits_for_digests: true,
        ..different()
    };
    says(
        &waiting,
        Case::NextSync,
        &["producer.digest_interval", "found by digest"],
    );
}

#[test]
fn a_tenant_that_was_never_synced_gets_everything_with_its_first_sync() {
    let facts = Facts {
        source: InSource::Here {
            inbox: 7,
            fetched: false,
        },
        target: InTarget::Absent,
        never_synced: true,
        ..equal()
    };
    says(&facts, Case::NextSync, &["first sync takes it (due in 42s)"]);
}

#[test]
fn changed_copied_names_are_updated_by_a_backfill() {
    let renamed = Facts {
        differing: vec!["inbox_name".into(), "team_name".into()],
        ..equal()
    };
    says(
        &renamed,
        Case::Renamed,
        &["inbox_name, team_name differ", "backfill"],
    );
    let more = Facts {
        differing: vec!["inbox_name".into(), "status".into()],
        ..equal()
    };
    says(&more, Case::Silent, &[]);
}

#[test]
fn many_differing_columns_are_counted() {
    let names = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(listed(&signals(&names)), "a, b, c, d and 2 other columns");
    assert_eq!(listed(&signals(&names[..2])), "a, b");
}
