-- What every content column of `conversations_analytics` has to hold, computed from a Chatwoot database by one query.
-- It is the second opinion on the transform, so it follows the column specification alone and shares nothing with the code.
--
--   $1 int[]  inbox ids        $2 int  tenant id        $3 text  the tenant's time zone (IANA name)
--
-- One row a conversation of these inboxes, by id; columns in the target's order, bookkeeping left out. No semicolon at the
-- end, so the text can stand in a PREPARE or a sub-select. The session's TimeZone and DateStyle do not matter. Messages are
-- read by conversation, so a large source wants its indexes and an ANALYZE, and `jit = off`.
--
-- Differences are taken of epochs, because `timestamp - timestamp` fails on infinity and overflows between the ends of the
-- range. A difference that is not finite, or does not fit its column, is NULL.

SELECT
    -- Identity and place. The conversation's own inbox_id is that of the inbox, and still there when the inbox is gone.
    $2::int AS tenant_id,
    c.id::bigint AS conversation_id,
    c.display_id,
    c.uuid AS conversation_uuid,
    c.account_id,
    nullif(left(account.name, 255), '') AS account_name,
    c.inbox_id,
    nullif(left(inbox.name, 255), '') AS inbox_name,
    nullif(left(inbox.channel_type, 50), '') AS inbox_channel_type,
    left(inbox.timezone, 50) AS inbox_timezone,
    c.campaign_id,
    label.labels,
    c.custom_attributes AS conversation_custom_attributes,

    -- Status, priority, assignment
    c.status,
    CASE c.status
        WHEN 0 THEN 'Aberta'
        WHEN 1 THEN 'Resolvida'
        WHEN 2 THEN 'Pendente'
        WHEN 3 THEN 'Adiada'
        ELSE 'Desconhecido'
    END AS status_label_pt,
    c.status = 1 AS is_resolved,
    c.status IN (0, 2) AS is_open,
    c.status = 2 AS is_pending,
    c.status = 3 AS is_snoozed,
    c.priority,
    CASE c.priority
        WHEN 0 THEN 'Low'
        WHEN 1 THEN 'Medium'
        WHEN 2 THEN 'High'
        WHEN 3 THEN 'Urgent'
        ELSE 'None'
    END AS priority_label,
    -- The column cannot be NULL, so the one number that has no successor stays where it is.
    CASE WHEN c.priority = 2147483647 THEN c.priority ELSE coalesce(c.priority + 1, 0) END AS priority_score,
    c.priority IS NOT NULL AS has_priority,
    coalesce(c.priority >= 2, false) AS is_high_priority,
    c.snoozed_until AT TIME ZONE 'UTC' AS snoozed_until,
    c.assignee_id,
    nullif(left(assignee.name, 255), '') AS assignee_name,
    nullif(left(assignee.email, 255), '') AS assignee_email,
    c.team_id,
    nullif(left(team.name, 255), '') AS team_name,
    c.assignee_id IS NOT NULL AS is_assigned,
    c.team_id IS NOT NULL AS has_team,
    c.contact_id IS NOT NULL AS has_contact,
    c.campaign_id IS NOT NULL AS is_from_campaign,

    -- Contact. An empty phone number is not NULL, so the client's does not take its place.
    c.contact_id,
    nullif(left(contact.name, 255), '') AS contact_name,
    nullif(left(contact.email, 255), '') AS contact_email,
    nullif(left(contact.identifier, 255), '') AS contact_identifier,
    client_message.sender_id AS client_sender_id,
    left(client.phone_number, 50) AS client_phone,
    nullif(left(coalesce(contact.phone_number, client.phone_number), 50), '') AS contact_phone,

    -- Times
    c.created_at AT TIME ZONE 'UTC' AS conversation_created_at,
    c.updated_at AT TIME ZONE 'UTC' AS conversation_updated_at,
    c.last_activity_at AT TIME ZONE 'UTC' AS last_activity_at,
    c.first_reply_created_at AT TIME ZONE 'UTC' AS first_reply_created_at,
    c.waiting_since AT TIME ZONE 'UTC' AS waiting_since,
    c.contact_last_seen_at AT TIME ZONE 'UTC' AS contact_last_seen_at,
    c.agent_last_seen_at AT TIME ZONE 'UTC' AS agent_last_seen_at,
    CASE
        WHEN round(took.response) BETWEEN -2147483648 AND 2147483647 THEN round(took.response)::int
    END AS first_response_time_seconds,
    (
        CASE WHEN abs(round(took.response / 60, 1)) <= 99999999999.9 THEN round(took.response / 60, 1) END
    )::numeric(12, 1) AS first_response_time_minutes,
    CASE
        WHEN round(took.resolution) BETWEEN -2147483648 AND 2147483647 THEN round(took.resolution)::int
    END AS resolution_time_seconds,
    took.response < 300 AS is_fast_response,
    took.response > 1800 AS is_slow_response,
    took.resolution < 7200 AS is_fast_resolution,
    c.waiting_since IS NOT NULL AND c.status <> 1 AS is_waiting,
    c.contact_last_seen_at IS NOT NULL AS contact_has_seen,
    c.agent_last_seen_at IS NOT NULL AS agent_has_seen,

    -- Messages
    said.message_compiled,
    said.all_count AS t_messages,
    said.public_count AS total_messages_public,
    said.private_count AS total_messages_private,
    said.public_user_count AS user_messages_count,
    said.public_contact_count AS contact_messages_count,
    said.public_count - said.public_user_count - said.public_contact_count AS system_messages_count,
    said.private_count AS private_notes_count,
    said.first_at AT TIME ZONE 'UTC' AS mc_first_message_at,
    said.last_at AT TIME ZONE 'UTC' AS mc_last_message_at,
    first_public.content AS first_message_text,
    last_public.content AS last_message_text,
    left(first_public.sender_type, 50) AS first_message_sender_type,
    left(last_public.sender_type, 50) AS last_message_sender_type,
    CASE
        WHEN round(took.conversation) BETWEEN -2147483648 AND 2147483647 THEN round(took.conversation)::int
    END AS conversation_duration_seconds,
    (
        CASE WHEN said.public_count >= 2 THEN round(took.conversation / (said.public_count - 1), 1) END
    )::numeric(14, 1) AS avg_time_between_messages_seconds,
    round(said.average_length)::int AS avg_message_length,
    said.greatest_length AS max_message_length,
    said.has_user AS has_user_messages,
    said.has_contact AS has_contact_messages,
    said.private_count > 0 AS has_private_notes,
    said.has_contact AS has_contact_reply,
    said.public_count <= 5 AS is_short_conversation,
    said.public_count > 20 AS is_long_conversation,
    coalesce(round(said.public_user_count::numeric / nullif(said.all_count, 0), 2), 0)::numeric(5, 2)
        AS user_message_ratio,
    coalesce(round(said.public_contact_count::numeric / nullif(said.all_count, 0), 2), 0)::numeric(5, 2)
        AS contact_message_ratio,
    said.public_user_count > 0 AS has_human_intervention,
    c.status = 1 AND said.public_user_count = 0 AS is_bot_resolved,

    -- Satisfaction
    csat.id AS csat_response_id,
    csat.rating AS csat_rating,
    csat.feedback_message AS csat_feedback,
    csat.created_at AT TIME ZONE 'UTC' AS csat_created_at,
    CASE
        WHEN csat.rating = 5 THEN 'Promotor'
        WHEN csat.rating = 4 THEN 'Neutro'
        WHEN csat.rating BETWEEN 1 AND 3 THEN 'Detrator'
    END AS csat_nps_category,
    CASE
        WHEN csat.rating >= 4 THEN 'Positivo'
        WHEN csat.rating = 3 THEN 'Neutro'
        WHEN csat.rating <= 2 THEN 'Negativo'
    END AS csat_sentiment_category,
    csat.id IS NOT NULL AS has_csat,
    coalesce(csat.feedback_message <> '', false) AS has_written_feedback,
    coalesce(char_length(csat.feedback_message) > 50, false) AS has_detailed_feedback,

    -- Chatwoot's own measures
    reported.events_compiled,
    CASE WHEN abs(reported.first_response_value) < 99999999999.95
        THEN round(reported.first_response_value, 1)::numeric(12, 1) END AS reported_first_response_seconds,
    CASE WHEN abs(reported.first_response_business) < 99999999999.95
        THEN round(reported.first_response_business, 1)::numeric(12, 1) END AS reported_first_response_business_seconds,
    reported.first_responder_id,
    round(reported.reply_average, 1)::numeric(12, 1) AS reported_reply_seconds_avg,
    coalesce(reported.reply_count, 0) AS reply_count,
    coalesce(reported.resolution_count, 0) AS resolution_count,
    reported.first_resolved_at AT TIME ZONE 'UTC' AS first_resolved_at,
    reported.last_resolved_at AT TIME ZONE 'UTC' AS last_resolved_at,
    CASE WHEN c.status = 1 THEN reported.last_resolved_at AT TIME ZONE 'UTC' END AS resolved_at,
    CASE WHEN abs(reported.resolution_value) < 99999999999.95
        THEN round(reported.resolution_value, 1)::numeric(12, 1) END AS reported_resolution_seconds,
    CASE WHEN abs(reported.resolution_business) < 99999999999.95
        THEN round(reported.resolution_business, 1)::numeric(12, 1) END AS reported_resolution_business_seconds,
    greatest(coalesce(reported.resolution_count, 0) - 1, 0)
        + CASE WHEN reported.resolution_count > 0 AND c.status <> 1 THEN 1 ELSE 0 END AS reopened_count,
    reported.bot_handoff_at AT TIME ZONE 'UTC' AS bot_handoff_at,
    coalesce(reported.last_resolved_at = ANY (reported.bot_resolutions), false) AS was_bot_resolved,

    -- Who handled it
    said.agent_count AS agent_messages_count,
    said.bot_count AS bot_messages_count,
    said.ai_count AS ai_messages_count,
    said.activity_count AS activity_messages_count,
    said.template_count AS template_messages_count,
    said.automation_count AS automation_messages_count,
    said.deleted_count AS deleted_messages_count,
    said.failed_count AS failed_messages_count,
    said.csat_request_count AS csat_requests_count,
    (SELECT count(*)::int FROM csat_survey_responses AS r WHERE r.conversation_id = c.id) AS csat_responses_count,
    csat.assigned_agent_id AS csat_assigned_agent_id,
    (SELECT nullif(left(u.name, 255), '') FROM users AS u WHERE u.id = csat.assigned_agent_id) AS csat_assigned_agent_name,
    said.customer_texts[1] AS first_customer_text,
    said.customer_texts[cardinality(said.customer_texts)] AS last_customer_text,
    said.agent_texts[cardinality(said.agent_texts)] AS last_agent_text,
    c.assignee_agent_bot_id,
    (SELECT nullif(left(b.name, 255), '') FROM agent_bots AS b WHERE b.id = c.assignee_agent_bot_id)
        AS assignee_agent_bot_name,
    CASE
        WHEN said.agent_count > 0 AND said.bot_count + said.ai_count = 0 THEN 'human'
        WHEN said.agent_count > 0 THEN 'mixed'
        WHEN said.bot_count + said.ai_count > 0 OR c.assignee_agent_bot_id IS NOT NULL THEN 'bot'
        ELSE 'nobody'
    END AS handled_by,
    said.last_agent_at AT TIME ZONE 'UTC' AS last_agent_message_at,
    said.last_customer_at AT TIME ZONE 'UTC' AS last_customer_message_at,
    c.status IN (0, 2) AND coalesce(said.writers[cardinality(said.writers)] = 'Contact', false) AS is_awaiting_reply,

    -- Also kept
    c.identifier AS conversation_identifier,
    c.additional_attributes AS conversation_additional_attributes,
    c.sla_policy_id,
    (SELECT nullif(left(p.name, 255), '') FROM sla_policies AS p WHERE p.id = c.sla_policy_id) AS sla_policy_name,
    (SELECT (ARRAY['active', 'hit', 'missed', 'active_with_misses'])[l.sla_status + 1]
     FROM applied_slas AS l WHERE l.conversation_id = c.id AND l.sla_policy_id = c.sla_policy_id
     ORDER BY l.id DESC LIMIT 1) AS sla_status,
    (SELECT nullif(left(g.title, 255), '') FROM campaigns AS g WHERE g.id = c.campaign_id) AS campaign_title,
    nullif(left(assignee.display_name, 255), '') AS assignee_display_name,
    contact.custom_attributes AS contact_custom_attributes,
    contact.additional_attributes AS contact_additional_attributes,
    nullif(left(contact.country_code, 2), '') AS contact_country_code,
    contact.blocked AS contact_blocked,
    contact.created_at AT TIME ZONE 'UTC' AS contact_created_at,
    (SELECT count(*)::int FROM messages AS m JOIN attachments AS f ON f.message_id = m.id WHERE m.conversation_id = c.id)
        AS attachments_count,
    ARRAY(SELECT DISTINCT p.user_id::int FROM conversation_participants AS p WHERE p.conversation_id = c.id ORDER BY 1)
        AS participants,
    CASE WHEN inbox.working_hours_enabled AND isfinite(c.created_at) THEN coalesce((
        SELECT NOT coalesce(h.closed_all_day, false) AND (coalesce(h.open_all_day, false) OR local.at::time BETWEEN
                   make_time(h.open_hour, coalesce(h.open_minutes, 0), 0)
                   AND make_time(h.close_hour, coalesce(h.close_minutes, 0), 0))
        FROM (SELECT c.created_at AT TIME ZONE 'UTC' AT TIME ZONE coalesce(inbox.timezone, 'UTC') AS at) AS local
        JOIN working_hours AS h ON h.inbox_id = c.inbox_id AND h.day_of_week = extract(dow FROM local.at)::int
        ORDER BY h.id LIMIT 1), false) END AS is_within_working_hours,

    -- Calendar
    here.created_at::date AS conversation_date,
    extract(year FROM here.created_at)::int AS conversation_year,
    extract(month FROM here.created_at)::int AS conversation_month,
    extract(day FROM here.created_at)::int AS conversation_day,
    extract(hour FROM here.created_at)::int AS conversation_hour,
    extract(minute FROM here.created_at)::int AS conversation_minute,
    extract(quarter FROM here.created_at)::int AS conversation_quarter,
    extract(dow FROM here.created_at)::int AS conversation_day_of_week,
    extract(week FROM here.created_at)::int AS conversation_week_of_year,
    (ARRAY['Domingo', 'Segunda', 'Terça', 'Quarta', 'Quinta', 'Sexta', 'Sábado'])
        [extract(dow FROM here.created_at)::int + 1] AS conversation_day_name,
    (ARRAY['Janeiro', 'Fevereiro', 'Março', 'Abril', 'Maio', 'Junho',
           'Julho', 'Agosto', 'Setembro', 'Outubro', 'Novembro', 'Dezembro'])
        [extract(month FROM here.created_at)::int] AS conversation_month_name,
    CASE
        WHEN extract(hour FROM here.created_at) < 6 THEN 'Madrugada'
        WHEN extract(hour FROM here.created_at) < 12 THEN 'Manhã'
        WHEN extract(hour FROM here.created_at) < 18 THEN 'Tarde'
        WHEN extract(hour FROM here.created_at) < 24 THEN 'Noite'
    END AS conversation_period,
    extract(isodow FROM here.created_at) <= 5 AS is_weekday,
    extract(isodow FROM here.created_at) >= 6 AS is_weekend,
    extract(isodow FROM here.created_at) <= 5 AND extract(hour FROM here.created_at) BETWEEN 9 AND 17
        AS is_business_hours,
    extract(hour FROM here.created_at) >= 20 OR extract(hour FROM here.created_at) < 6 AS is_night_time,
    to_char(here.created_at, 'YYYY-MM-DD') AS conversation_date_formatted,
    to_char(here.created_at, 'YYYY-MM-DD HH24:MI') AS conversation_datetime_formatted,
    to_char(here.created_at, 'YYYY-MM') AS conversation_year_month,
    to_char(here.created_at, 'IYYY-IW') AS conversation_year_week

FROM conversations AS c
LEFT JOIN accounts AS account ON account.id = c.account_id
LEFT JOIN inboxes AS inbox ON inbox.id = c.inbox_id
LEFT JOIN users AS assignee ON assignee.id = c.assignee_id
LEFT JOIN teams AS team ON team.id = c.team_id
LEFT JOIN contacts AS contact ON contact.id = c.contact_id

LEFT JOIN LATERAL (
    SELECT m.sender_id
    FROM messages AS m
    WHERE m.conversation_id = c.id AND m.sender_type = 'Contact'
    ORDER BY m.created_at, m.id
    LIMIT 1
) AS client_message ON true
LEFT JOIN contacts AS client ON client.id = client_message.sender_id

LEFT JOIN LATERAL (
    SELECT m.content, m.sender_type, m.created_at
    FROM messages AS m
    WHERE m.conversation_id = c.id AND NOT m.private
    ORDER BY m.created_at, m.id
    LIMIT 1
) AS first_public ON true
LEFT JOIN LATERAL (
    SELECT m.content, m.sender_type, m.created_at
    FROM messages AS m
    WHERE m.conversation_id = c.id AND NOT m.private
    ORDER BY m.created_at DESC, m.id DESC
    LIMIT 1
) AS last_public ON true

CROSS JOIN LATERAL (
    SELECT
        -- Over no rows this is NULL and not an empty array, as it is to be.
        jsonb_agg(
            jsonb_build_object(
                'message_id', m.id,
                'text', m.content,
                'sender', m.sender_type,
                'sender_id', m.sender_id,
                'sent_at', m.created_at,
                'message_type', m.message_type,
                'content_type', m.content_type,
                'status', m.status,
                'private', m.private,
                'sentiment', m.sentiment,
                'source_id', m.source_id
            )
            ORDER BY m.created_at, m.id
        ) AS message_compiled,
        count(*)::int AS all_count,
        (count(*) FILTER (WHERE NOT m.private))::int AS public_count,
        (count(*) FILTER (WHERE m.private))::int AS private_count,
        (count(*) FILTER (WHERE NOT m.private AND m.sender_type = 'User'))::int AS public_user_count,
        (count(*) FILTER (WHERE NOT m.private AND m.sender_type = 'Contact'))::int AS public_contact_count,
        min(m.created_at) AS first_at,
        max(m.created_at) AS last_at,
        avg(char_length(m.content)) FILTER (WHERE NOT m.private) AS average_length,
        max(char_length(m.content)) FILTER (WHERE NOT m.private) AS greatest_length,
        coalesce(bool_or(m.sender_type = 'User'), false) AS has_user,
        coalesce(bool_or(m.sender_type = 'Contact'), false) AS has_contact,
        (count(*) FILTER (WHERE NOT m.private AND mark.is_agent))::int AS agent_count,
        (count(*) FILTER (WHERE NOT m.private AND m.sender_type = 'AgentBot'))::int AS bot_count,
        (count(*) FILTER (WHERE NOT m.private AND m.sender_type = 'Captain::Assistant'))::int AS ai_count,
        (count(*) FILTER (WHERE m.message_type = 2))::int AS activity_count,
        (count(*) FILTER (WHERE m.message_type = 3))::int AS template_count,
        (count(*) FILTER (WHERE mark.is_automation))::int AS automation_count,
        (count(*) FILTER (WHERE mark.is_deleted))::int AS deleted_count,
        (count(*) FILTER (WHERE m.status = 3))::int AS failed_count,
        (count(*) FILTER (WHERE m.content_type = 9))::int AS csat_request_count,
        array_agg(m.content ORDER BY m.created_at, m.id)
            FILTER (WHERE NOT m.private AND m.sender_type = 'Contact' AND NOT mark.is_deleted) AS customer_texts,
        array_agg(m.content ORDER BY m.created_at, m.id)
            FILTER (WHERE NOT m.private AND mark.is_agent AND NOT mark.is_deleted) AS agent_texts,
        array_agg(coalesce(m.sender_type, '-') ORDER BY m.created_at, m.id)
            FILTER (WHERE NOT m.private AND m.message_type IN (0, 1)) AS writers,
        max(m.created_at) FILTER (WHERE NOT m.private AND mark.is_agent) AS last_agent_at,
        max(m.created_at) FILTER (WHERE NOT m.private AND m.sender_type = 'Contact') AS last_customer_at
    FROM messages AS m
    -- Chatwoot's versions store the attributes as an object, or as a string that contains the object.
    CROSS JOIN LATERAL (SELECT CASE json_typeof(m.content_attributes)
        WHEN 'string' THEN (m.content_attributes #>> '{}')::jsonb
        ELSE m.content_attributes::jsonb END AS set) AS attribute
    CROSS JOIN LATERAL (SELECT
        coalesce(attribute.set ->> 'deleted', 'false') <> 'false' AS is_deleted,
        coalesce(attribute.set ->> 'automation_rule_id', 'false') <> 'false' AS is_automation,
        coalesce(m.message_type = 1 AND (
            coalesce(attribute.set ->> 'external_echo', 'false') <> 'false'
            OR m.sender_type = 'User' AND coalesce(attribute.set ->> 'automation_rule_id', 'false') = 'false'), false)
            AS is_agent) AS mark
    WHERE m.conversation_id = c.id
) AS said

CROSS JOIN LATERAL (
    SELECT
        jsonb_agg(jsonb_build_object(
            'event_id', e.id, 'name', e.name, 'value', e.value, 'value_in_business_hours', e.value_in_business_hours,
            'user_id', e.user_id, 'inbox_id', e.inbox_id, 'started_at', e.event_start_time,
            'ended_at', e.event_end_time, 'created_at', e.created_at) ORDER BY e.created_at, e.id) AS events_compiled,
        (array_agg(e.value::text::numeric ORDER BY e.created_at, e.id) FILTER (WHERE e.name = 'first_response'))[1]
            AS first_response_value,
        (array_agg(e.value_in_business_hours::text::numeric ORDER BY e.created_at, e.id)
            FILTER (WHERE e.name = 'first_response'))[1] AS first_response_business,
        (array_agg(e.user_id::int ORDER BY e.created_at, e.id) FILTER (WHERE e.name = 'first_response'))[1]
            AS first_responder_id,
        avg(e.value::text::numeric) FILTER (WHERE e.name = 'reply_time') AS reply_average,
        (count(*) FILTER (WHERE e.name = 'reply_time'))::int AS reply_count,
        (count(*) FILTER (WHERE e.name = 'conversation_resolved'))::int AS resolution_count,
        (array_agg(coalesce(e.event_end_time, e.created_at) ORDER BY e.created_at, e.id)
            FILTER (WHERE e.name = 'conversation_resolved'))[1] AS first_resolved_at,
        (array_agg(coalesce(e.event_end_time, e.created_at) ORDER BY e.created_at DESC, e.id DESC)
            FILTER (WHERE e.name = 'conversation_resolved'))[1] AS last_resolved_at,
        (array_agg(e.value::text::numeric ORDER BY e.created_at DESC, e.id DESC)
            FILTER (WHERE e.name = 'conversation_resolved'))[1] AS resolution_value,
        (array_agg(e.value_in_business_hours::text::numeric ORDER BY e.created_at DESC, e.id DESC)
            FILTER (WHERE e.name = 'conversation_resolved'))[1] AS resolution_business,
        (array_agg(coalesce(e.event_end_time, e.created_at) ORDER BY e.created_at DESC, e.id DESC)
            FILTER (WHERE e.name = 'conversation_bot_handoff'))[1] AS bot_handoff_at,
        array_agg(coalesce(e.event_end_time, e.created_at)) FILTER (WHERE e.name = 'conversation_bot_resolved')
            AS bot_resolutions
    FROM reporting_events AS e
    WHERE e.conversation_id = c.id
) AS reported

LEFT JOIN LATERAL (
    SELECT r.id, r.rating, r.feedback_message, r.created_at, r.assigned_agent_id
    FROM csat_survey_responses AS r
    WHERE r.conversation_id = c.id
    ORDER BY r.created_at DESC, r.id DESC
    LIMIT 1
) AS csat ON true

CROSS JOIN LATERAL (
    -- White space at either end is what Unicode calls White_Space, not the plain blank alone.
    SELECT coalesce(array_agg(name ORDER BY place) FILTER (WHERE name <> ''), '{}') AS labels
    FROM unnest(string_to_array(c.cached_label_list, ',')) WITH ORDINALITY AS piece (raw, place)
    CROSS JOIN LATERAL btrim(
        raw,
        U&'\0009\000A\000B\000C\000D\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A'
        '\2028\2029\202F\205F\3000'
    ) AS name
) AS label

CROSS JOIN LATERAL (
    -- Seconds since 1970, to the microsecond. Before PostgreSQL 14 extract() is a double, which has every whole second and
    -- every microsecond of a minute exactly, but not both at once. NULL for infinity.
    SELECT
        max(epoch) FILTER (WHERE name = 'created') AS created,
        max(epoch) FILTER (WHERE name = 'updated') AS updated,
        max(epoch) FILTER (WHERE name = 'first reply') AS first_reply,
        max(epoch) FILTER (WHERE name = 'first public') AS first_public,
        max(epoch) FILTER (WHERE name = 'last public') AS last_public
    FROM (
        VALUES ('created', c.created_at), ('updated', c.updated_at), ('first reply', c.first_reply_created_at),
            ('first public', first_public.created_at), ('last public', last_public.created_at)
    ) AS moment (name, moment)
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN isfinite(moment)
                THEN (
                    extract(epoch FROM date_trunc('second', moment))::numeric
                    + extract(microseconds FROM moment)::numeric % 1000000 / 1000000
                )::numeric(20, 6)
            END AS epoch
    ) AS exact
) AS seconds

CROSS JOIN LATERAL (
    -- The twenty places keep a quotient from being rounded twice: a division has no fewer places than what it divides.
    SELECT
        (seconds.first_reply - seconds.created)::numeric(40, 20) AS response,
        CASE WHEN c.status = 1 THEN seconds.updated - seconds.created END AS resolution,
        (seconds.last_public - seconds.first_public)::numeric(40, 20) AS conversation
) AS took

CROSS JOIN LATERAL (
    -- Within a day of either end of what PostgreSQL can hold there may be no local time to speak of.
    SELECT
        CASE
            WHEN c.created_at BETWEEN timestamp '4714-11-25 00:00 BC' AND timestamp '294276-12-30 23:59:59.999999'
            THEN c.created_at AT TIME ZONE 'UTC' AT TIME ZONE $3::text
        END AS created_at
) AS here

WHERE c.inbox_id = ANY ($1::int[])
ORDER BY c.id
