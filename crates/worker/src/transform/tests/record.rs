use super::*;

#[test]
fn ids_account_inbox_and_labels_come_from_the_record() {
    let source = SourceConversation {
        display_id: Some(9),
        uuid: Some(Uuid::from_u128(5)),
        account_id: Some(1),
        account_name: Some("Loja".to_owned()),
        inbox_name: Some("á".repeat(256)),
        inbox_channel_type: Some("Channel::Whatsapp".to_owned()),
        inbox_timezone: Some("America/Sao_Paulo".to_owned()),
        campaign_id: Some(1 << 40),
        cached_label_list: Some("vip, lead".to_owned()),
        custom_attributes: Some(r#"{"plan": "gold"}"#.to_owned()),
        ..conversation()
    };
    let identity = transformed(&source).identity;
    assert_eq!(identity.tenant_id, 7);
    assert_eq!(identity.conversation_id, 42);
    assert_eq!(identity.display_id, Some(9));
    assert_eq!(identity.conversation_uuid, Some(Uuid::from_u128(5)));
    assert_eq!(
        (identity.account_id, identity.account_name),
        (Some(1), Some("Loja"))
    );
    assert_eq!(identity.inbox_id, 3);
    assert_eq!(identity.inbox_name, Some("á".repeat(255).as_str()));
    assert_eq!(identity.inbox_channel_type, Some("Channel::Whatsapp"));
    assert_eq!(identity.inbox_timezone, Some("America/Sao_Paulo"));
    assert_eq!(identity.campaign_id, Some(1 << 40));
    assert_eq!(identity.labels, ["vip", "lead"]);
    assert_eq!(
        identity.conversation_custom_attributes.unwrap().0,
        r#"{"plan": "gold"}"#
    );
}

#[test]
fn empty_names_are_null() {
    let empty = Some(String::new());
    let source = SourceConversation {
        account_name: empty.clone(),
        inbox_name: empty.clone(),
        inbox_channel_type: empty.clone(),
        inbox_timezone: empty.clone(),
        assignee_name: empty.clone(),
        assignee_email: empty.clone(),
        team_name: empty.clone(),
        contact_name: empty.clone(),
        contact_email: empty.clone(),
        contact_phone: empty.clone(),
        contact_identifier: empty,
        ..conversation()
    };
    let row = transformed(&source);
    for name in [
        row.identity.account_name,
        row.identity.inbox_name,
        row.identity.inbox_channel_type,
        row.status.assignee_name,
        row.status.assignee_email,
        row.status.team_name,
        row.contact.contact_name.as_deref(),
        row.contact.contact_email.as_deref(),
        row.contact.contact_phone.as_deref(),
        row.contact.contact_identifier.as_deref(),
    ] {
        assert_eq!(name, None);
    }
    // not one of the columns in which empty means unknown
    assert_eq!(row.identity.inbox_timezone, Some(""));
}

#[test]
fn a_status_has_a_label_and_flags() {
    for (status, label, [resolved, open, pending, snoozed]) in [
        (Some(0), "Aberta", [false, true, false, false]),
        (Some(1), "Resolvida", [true, false, false, false]),
        (Some(2), "Pendente", [false, true, true, false]),
        (Some(3), "Adiada", [false, false, false, true]),
        (Some(4), "Desconhecido", [false; 4]),
        (Some(-1), "Desconhecido", [false; 4]),
        (None, "Desconhecido", [false; 4]),
    ] {
        let source = SourceConversation {
            status,
            ..conversation()
        };
        let row = transformed(&source).status;
        assert_eq!((row.status, row.status_label_pt), (status, label));
        let flags = [row.is_resolved, row.is_open, row.is_pending, row.is_snoozed];
        assert_eq!(flags, [resolved, open, pending, snoozed], "{status:?}");
    }
}

#[test]
fn a_priority_has_a_label_and_a_score() {
    for (priority, label, score, has, high) in [
        (None, "None", 0, false, false),
        (Some(0), "Low", 1, true, false),
        (Some(1), "Medium", 2, true, false),
        (Some(2), "High", 3, true, true),
        (Some(3), "Urgent", 4, true, true),
        (Some(9), "None", 10, true, true),
        (Some(-5), "None", -4, true, false),
        (Some(i32::MAX), "None", i32::MAX, true, true),
    ] {
        let source = SourceConversation {
            priority,
            ..conversation()
        };
        let row = transformed(&source).status;
        assert_eq!(
            (row.priority, row.priority_label, row.priority_score),
            (priority, label, score)
        );
        assert_eq!(
            (row.has_priority, row.is_high_priority),
            (has, high),
            "{priority:?}"
        );
    }
}

#[test]
fn assignment_follows_the_ids() {
    let source = conversation();
    let row = transformed(&source).status;
    assert_eq!(
        [
            row.is_assigned,
            row.has_team,
            row.has_contact,
            row.is_from_campaign
        ],
        [false; 4]
    );

    let source = SourceConversation {
        assignee_id: Some(1),
        assignee_name: Some("Ana".to_owned()),
        assignee_email: Some("ana@example.com".to_owned()),
        team_id: Some(2),
        team_name: Some("Vendas".to_owned()),
        contact_id: Some(3),
        campaign_id: Some(4),
        snoozed_until: Some(at("2024-04-01T00:00:00")),
        ..conversation()
    };
    let row = transformed(&source).status;
    assert_eq!(
        [
            row.is_assigned,
            row.has_team,
            row.has_contact,
            row.is_from_campaign
        ],
        [true; 4]
    );
    assert_eq!((row.assignee_id, row.assignee_name), (Some(1), Some("Ana")));
    assert_eq!(row.assignee_email, Some("ana@example.com"));
    assert_eq!((row.team_id, row.team_name), (Some(2), Some("Vendas")));
    assert_eq!(row.snoozed_until, Some(at("2024-04-01T00:00:00")));
}

#[test]
fn a_contact_without_a_phone_gets_the_client_s() {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::default(),
    };
    for (contact_phone, client_phone, expected) in [
        (Some("+551"), Some("+552"), (Some("+551"), Some("+552"))),
        (None, Some("+552"), (Some("+552"), Some("+552"))),
        (Some("+551"), None, (Some("+551"), None)),
        (None, None, (None, None)),
        (Some(""), Some("+552"), (None, Some("+552"))),
        (None, Some(""), (None, Some(""))),
    ] {
        let source = SourceConversation {
            contact_phone: contact_phone.map(str::to_owned),
            ..conversation()
        };
        let contact = transform(&tenant, &source, MessageFold::new(), client_phone)
            .unwrap()
            .contact;
        assert_eq!(
            (contact.contact_phone.as_deref(), contact.client_phone.as_deref()),
            expected
        );
    }
}

#[test]
fn a_phone_is_cut_at_fifty_characters() {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::default(),
    };
    let (long, source) = ("٣".repeat(51), conversation());
    let contact = transform(&tenant, &source, MessageFold::new(), Some(&long))
        .unwrap()
        .contact;
    assert_eq!(contact.client_phone.as_deref(), Some("٣".repeat(50).as_str()));
    assert_eq!(contact.contact_phone, contact.client_phone);
}

#[test]
fn a_response_time_is_exact_before_it_is_rounded() {
    // created at 12:00:00; the reply, seconds, tenths of minutes, fast, slow
    for (reply, seconds, tenths, fast, slow) in [
        ("2024-03-15T12:00:00", 0, 0, true, false),
        ("2024-03-15T12:00:00.499999", 0, 0, true, false),
        ("2024-03-15T12:00:00.5", 1, 0, true, false),
        ("2024-03-15T12:00:03", 3, 1, true, false),
        ("2024-03-15T12:00:02.999999", 3, 0, true, false),
        ("2024-03-15T12:04:59.999999", 300, 50, true, false),
        ("2024-03-15T12:05:00", 300, 50, false, false),
        ("2024-03-15T12:30:00", 1_800, 300, false, false),
        ("2024-03-15T12:30:00.000001", 1_800, 300, false, true),
        ("2024-03-15T11:59:59.5", -1, 0, true, false),
        ("2024-03-15T11:59:57", -3, -1, true, false),
    ] {
        let source = SourceConversation {
            first_reply_created_at: Some(at(reply)),
            ..conversation()
        };
        let times = transformed(&source).times;
        assert_eq!(times.first_response_time_seconds, Some(seconds), "{reply}");
        assert_eq!(
            times.first_response_time_minutes.map(|minutes| minutes.scaled()),
            Some(tenths),
            "{reply}"
        );
        assert_eq!(
            (times.is_fast_response, times.is_slow_response),
            (Some(fast), Some(slow)),
            "{reply}"
        );
    }
}

#[test]
fn without_a_reply_there_is_no_response_time() {
    let source = conversation();
    let times = transformed(&source).times;
    assert_eq!(
        (
            times.first_response_time_seconds,
            times.first_response_time_minutes
        ),
        (None, None)
    );
    assert_eq!((times.is_fast_response, times.is_slow_response), (None, None));
}

#[test]
fn a_value_too_large_for_its_column_is_null_and_keeps_the_row() {
    // 2^31 seconds and a bit: too much for the seconds, not for the minutes
    let source = SourceConversation {
        first_reply_created_at: Some(at("2092-04-02T15:14:08")),
        ..conversation()
    };
    let times = transformed(&source).times;
    assert_eq!(times.first_response_time_seconds, None);
    assert_eq!(
        times.first_response_time_minutes.map(|minutes| minutes.scaled()),
        Some(357_913_941)
    );
    assert_eq!(
        (times.is_fast_response, times.is_slow_response),
        (Some(false), Some(true))
    );

    // 292,252 years are 1.5 * 10^11 minutes: twelve digits before the point
    let source = SourceConversation {
        first_reply_created_at: Some(SourceTime::MAX),
        ..conversation()
    };
    let times = transformed(&source).times;
    assert_eq!(
        (
            times.first_response_time_seconds,
            times.first_response_time_minutes
        ),
        (None, None)
    );
    assert_eq!(
        (times.is_fast_response, times.is_slow_response),
        (Some(false), Some(true))
    );

    let source = SourceConversation {
        first_reply_created_at: Some(SourceTime::INFINITY),
        ..conversation()
    };
    let times = transformed(&source).times;
    assert_eq!(times.first_reply_created_at, Some(SourceTime::INFINITY));
    assert_eq!(
        (
            times.first_response_time_seconds,
            times.first_response_time_minutes
        ),
        (None, None)
    );
    assert_eq!((times.is_fast_response, times.is_slow_response), (None, None));
}

#[test]
fn a_resolution_time_needs_a_resolved_conversation() {
    for (status, updated_at, seconds, fast) in [
        (1, "2024-03-15T13:59:59.999999", Some(7_200), Some(true)),
        (1, "2024-03-15T14:00:00", Some(7_200), Some(false)),
        (1, "2024-03-15T11:59:58.5", Some(-2), Some(true)),
        (1, "infinity", None, None),
        (0, "2024-03-15T14:00:00", None, None),
    ] {
        let source = SourceConversation {
            status: Some(status),
            updated_at: at(updated_at),
            ..conversation()
        };
        let times = transformed(&source).times;
        assert_eq!(
            (times.resolution_time_seconds, times.is_fast_resolution),
            (seconds, fast),
            "{updated_at}"
        );
    }
}

#[test]
fn times_are_kept_to_the_microsecond() {
    let instant = at("2024-03-15T12:00:00.000001");
    let source = SourceConversation {
        updated_at: instant,
        last_activity_at: Some(instant),
        waiting_since: Some(instant),
        contact_last_seen_at: Some(instant),
        agent_last_seen_at: Some(instant),
        ..conversation()
    };
    let times = transformed(&source).times;
    assert_eq!(
        (times.conversation_created_at, times.conversation_updated_at),
        (source.created_at, instant)
    );
    assert_eq!(
        (times.last_activity_at, times.waiting_since),
        (Some(instant), Some(instant))
    );
    assert_eq!(
        (times.contact_last_seen_at, times.agent_last_seen_at),
        (Some(instant), Some(instant))
    );
    assert_eq!(
        [times.is_waiting, times.contact_has_seen, times.agent_has_seen],
        [true; 3]
    );

    let source = conversation();
    let times = transformed(&source).times;
    assert_eq!(
        [times.is_waiting, times.contact_has_seen, times.agent_has_seen],
        [false; 3]
    );
}

#[test]
fn a_rating_has_its_categories() {
    for (rating, nps, sentiment) in [
        (Some(5), Some("Promotor"), Some("Positivo")),
        (Some(4), Some("Neutro"), Some("Positivo")),
        (Some(3), Some("Detrator"), Some("Neutro")),
        (Some(2), Some("Detrator"), Some("Negativo")),
        (Some(1), Some("Detrator"), Some("Negativo")),
        (Some(0), None, Some("Negativo")),
        (Some(6), None, Some("Positivo")),
        (None, None, None),
    ] {
        let csat = Some(SourceCsat {
            id: Some(8),
            rating,
            feedback: None,
            created_at: None,
            assigned_agent_id: None,
            assigned_agent_name: None,
        });
        let source = SourceConversation {
            csat,
            ..conversation()
        };
        let row = transformed(&source).satisfaction;
        assert_eq!(
            (row.csat_response_id, row.csat_rating, row.has_csat),
            (Some(8), rating, true)
        );
        assert_eq!(
            (row.csat_nps_category, row.csat_sentiment_category),
            (nps, sentiment),
            "{rating:?}"
        );
    }
}

#[test]
fn feedback_is_written_or_detailed_by_its_characters() {
    let (fifty, more) = ("ç".repeat(50), "ç".repeat(51));
    for (feedback, written, detailed) in [
        (None, false, false),
        (Some(""), false, false),
        (Some(" "), true, false),
        (Some(fifty.as_str()), true, false),
        (Some(more.as_str()), true, true),
    ] {
        let created_at = Some(at("2024-03-16T08:00:00"));
        let csat = Some(SourceCsat {
            id: Some(8),
            rating: Some(5),
            feedback: feedback.map(str::to_owned),
            created_at,
            assigned_agent_id: None,
            assigned_agent_name: None,
        });
        let source = SourceConversation {
            csat,
            ..conversation()
        };
        let row = transformed(&source).satisfaction;
        assert_eq!(
            (row.csat_feedback.as_deref(), row.csat_created_at),
            (feedback, created_at)
        );
        assert_eq!(
            (row.has_written_feedback, row.has_detailed_feedback),
            (written, detailed)
        );
    }
}

#[test]
fn without_a_response_there_is_no_satisfaction() {
    let source = conversation();
    let row = transformed(&source).satisfaction;
    assert_eq!(
        (row.csat_response_id, row.csat_rating, row.csat_feedback),
        (None, None, None)
    );
    assert_eq!((row.csat_nps_category, row.csat_sentiment_category), (None, None));
    assert_eq!(
        [row.has_csat, row.has_written_feedback, row.has_detailed_feedback],
        [false; 3]
    );
}

#[test]
fn a_value_that_no_row_can_have_is_an_error_without_content() {
    let tenant = TenantContext {
        tenant_id: 7,
        timezone: chrono_tz::UTC,
        privacy: Arc::default(),
    };
    for (source, kind, column) in [
        (
            SourceConversation {
                contact_name: Some("se\0cret".to_owned()),
                ..conversation()
            },
            "nul_character",
            "contact_name",
        ),
        (
            SourceConversation {
                custom_attributes: Some("{secret".to_owned()),
                ..conversation()
            },
            "invalid_json",
            "conversation_custom_attributes",
        ),
    ] {
        let error = transform(&tenant, &source, MessageFold::new(), None).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(column));
        assert!(!error.to_string().contains("cret"));
    }
}
