-- A small Chatwoot of the nastiest rows: what each conversation is for stands above it, what it must become in expected.sql.
-- It goes into empty tables; ids are fixed and sequences are left alone.
--
--   tenant 1  UTC                inboxes 11 12 13 14 15
--   tenant 2  America/Sao_Paulo  inbox 21
--   tenant 3  Europe/Lisbon      inbox 31
--   tenant 4  Asia/Kathmandu     inbox 41
--   no tenant                    inbox 99

INSERT INTO accounts (id, name, created_at, updated_at) VALUES
    (1, 'Padaria São João', '2020-01-01', '2020-01-01'),
    (2, '', '2020-01-01', '2020-01-01'),
    -- 256 characters, the last that stays has four bytes
    (3, repeat('a', 254) || '😀b', '2020-01-01', '2020-01-01');

INSERT INTO inboxes (id, channel_id, account_id, name, channel_type, timezone, created_at, updated_at) VALUES
    (11, 1, 1, 'Website', 'Channel::WebWidget', 'America/Sao_Paulo', '2020-01-01', '2020-01-01'),
    (12, 2, 2, '', '', '', '2020-01-01', '2020-01-01'),
    (13, 3, 1, 'Sem canal', NULL, NULL, '2020-01-01', '2020-01-01'),
    -- 14 is deleted
    (15, 5, 3, repeat('ç', 255) || 'x', 'Channel::' || repeat('z', 42), repeat('T', 51), '2020-01-01', '2020-01-01'),
    (21, 6, 1, 'Telegram', 'Channel::Telegram', 'America/Sao_Paulo', '2020-01-01', '2020-01-01'),
    (31, 7, 1, 'WhatsApp', 'Channel::Whatsapp', 'Europe/Lisbon', '2020-01-01', '2020-01-01'),
    (41, 8, 1, 'API', 'Channel::Api', 'Asia/Kathmandu', '2020-01-01', '2020-01-01'),
    (99, 9, 1, 'Ninguém', 'Channel::Email', 'UTC', '2020-01-01', '2020-01-01');

INSERT INTO users (id, uid, name, display_name, email, created_at, updated_at) VALUES
    (1, 'ana@example.com', 'Ana Souza', 'Ana', 'ana@example.com', '2020-01-01', '2020-01-01'),
    -- a name of exactly 255 characters and 510 bytes; an email of 256 characters and 1024 bytes
    (2, 'long', repeat('é', 255), NULL, repeat('😀', 256), '2020-01-01', '2020-01-01'),
    (3, 'empty', '', 'shown elsewhere', '', '2020-01-01', '2020-01-01');

INSERT INTO teams (id, name, account_id, created_at, updated_at) VALUES
    (1, 'Vendas', 1, '2020-01-01', '2020-01-01'),
    -- the cut falls between a letter and its combining accent: they are two characters
    (2, repeat('n', 254) || E'e\u0301', 3, '2020-01-01', '2020-01-01'),
    (3, '', 2, '2020-01-01', '2020-01-01');

INSERT INTO contacts (id, account_id, name, email, identifier, phone_number, created_at, updated_at) VALUES
    (31, 1, 'Bruno Lima', 'bruno@example.com', 'cli-31', '+5511999990031', '2020-01-01', '2020-01-01'),
    (32, 1, 'Carla', NULL, NULL, '+5511999990032', '2020-01-01', '2020-01-01'),
    (33, 1, 'Davi', NULL, NULL, '+5511999990033', '2020-01-01', '2020-01-01'),
    -- a name of blanks is not empty, whole or cut
    (34, 3, repeat(' ', 255) || 'x', repeat('m', 256), repeat('i', 256), '+' || repeat('1', 50), '2020-01-01', '2020-01-01'),
    (35, 3, 'Emoji', NULL, NULL, repeat('😀', 51), '2020-01-01', '2020-01-01'),
    (36, 2, '', '', '', '', '2020-01-01', '2020-01-01'),
    (37, 1, NULL, NULL, NULL, NULL, '2020-01-01', '2020-01-01'),
    (38, 2, 'Outra conta', NULL, NULL, '+351910000038', '2020-01-01', '2020-01-01');

-- Identity and place

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, priority, assignee_id, team_id, campaign_id, contact_id,
     cached_label_list, custom_attributes, snoozed_until, created_at, updated_at, last_activity_at,
     first_reply_created_at, waiting_since, contact_last_seen_at, agent_last_seen_at)
VALUES
    -- 101: an ordinary one with everything; expected.sql has each of its columns
    (101, 101, 1, 11, '6f9619ff-8b86-4011-b42d-00cf4fc964ff', 1, 2, 1, 1, 7, 31,
     'vip, retorno', '{"valor": 12.50, "plano": "ouro"}', NULL,
     '2024-03-05 14:30:15.123456', '2024-03-05 16:30:15.123455', '2024-03-05 16:30:10',
     '2024-03-05 14:34:00.623456', NULL, '2024-03-05 16:29:00', NULL),
    -- 102: NULL wherever the source allows it, and no message
    (102, 102, 1, 13, gen_random_uuid(), 0, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 103: empty strings wherever there can be one; an empty phone number of the contact beside a client who has one
    (103, 103, 2, 12, gen_random_uuid(), 0, NULL, 3, 3, NULL, 36,
     '', '{}', NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 104: texts at and one over every limit
    (104, 104, 3, 15, gen_random_uuid(), 0, NULL, 2, 2, NULL, 34,
     NULL, '{}', NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 105: nothing it points to exists any more, its inbox neither; a campaign numbered 0 is a campaign
    (105, 105, 999, 14, gen_random_uuid(), 0, NULL, 999, 999, 0, 999,
     NULL, '{}', NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 106: labels with blanks of several kinds (a zero-width space is none), empties, a repetition, what an array literal
    -- would have to quote
    (106, 106, 1, 11, gen_random_uuid(), 0, NULL, NULL, NULL, NULL, NULL,
     E' vip , ,,novo cliente,\tretorno\n,\u00A0x\u00A0y\u3000,vip,É,a"b,c\\d,{e},NULL,\u200Bz,', '[]', NULL,
     '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 107: labels of nothing but separators; custom attributes that are a JSON null, which is not an SQL NULL
    (107, 107, 1, 11, gen_random_uuid(), 0, NULL, NULL, NULL, NULL, NULL,
     ' , ,,', 'null', NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 108: custom attributes nested deeper than many JSON readers go
    (108, 108, 1, 11, gen_random_uuid(), 0, NULL, NULL, NULL, NULL, NULL,
     NULL, (repeat('[', 200) || repeat(']', 200))::jsonb, NULL,
     '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- the greatest ids; numbers that no float holds, escapes, a control character, a line separator, a key twice
    (2147483647, 2147483647, 1, 11, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 0, NULL, 2147483647,
     9223372036854775806, 9223372036854775807, 9223372036854775805, NULL,
     '{"n": 123456789012345678901234567890, "f": 0.10, "e": 1E+25, "z": -0, "d": 1, "d": 2, "n2": 1e-7,
       "s": "\u0001\"\\\u2028\ud83d\ude00\/", "k": {"b": 1, "a": [ ]}}',
     NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL),
    -- 900: in nobody's inbox: it must not come out at all
    (900, 900, 1, 99, gen_random_uuid(), 0, NULL, NULL, NULL, NULL, 31,
     NULL, '{}', NULL, '2024-03-06', '2024-03-06', '2024-03-06', NULL, NULL, NULL, NULL);

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
VALUES
    (101001, 101, 1, 11, 0, 0, '2024-03-05 14:30:15.123456', '2024-03-05 14:30:16', false, 0,
     'Contact', 31, 'Olá, tudo bem?', 'wamid.1', '{}'),
    (101002, 101, 1, 11, 1, 0, '2024-03-05 14:34:00.623456', '2024-03-05 14:34:01', false, 2,
     'User', 1, 'Bom dia! 😀', NULL, '{}'),
    (101003, 101, 1, 11, 1, 0, '2024-03-05 14:35:00', '2024-03-05 14:35:00', true, 0,
     'User', 1, 'cliente antigo', NULL, '{}'),
    (101004, 101, 1, 11, 2, 0, '2024-03-05 14:40:15.123456', '2024-03-05 14:40:15', false, 0,
     NULL, NULL, 'Conversation was resolved by Ana', NULL, '{}'),
    (103001, 103, 2, 12, 0, 0, '2024-03-06', '2024-03-06', false, 0, 'Contact', 32, '', '', '{}'),
    (104001, 104, 3, 15, 0, 0, '2024-03-06 00:00', '2024-03-06', false, 0, 'Contact', 35, 'oi', NULL, '{}'),
    (104002, 104, 3, 15, 0, 0, '2024-03-06 00:01', '2024-03-06', false, 0, repeat('S', 51), 1, 'oi', NULL, '{}'),
    (105001, 105, 999, 14, 0, 0, '2024-03-06', '2024-03-06', false, 0, 'Contact', 32, 'oi', NULL, '{}'),
    (900001, 900, 1, 99, 0, 0, '2024-03-06', '2024-03-06', false, 0, 'Contact', 31, 'oi', NULL, '{}');

INSERT INTO csat_survey_responses
    (id, account_id, conversation_id, message_id, contact_id, rating, feedback_message, created_at, updated_at)
VALUES
    (1010, 1, 101, 101004, 31, 5, 'Ótimo', '2024-03-05 17:00:00', '2024-03-05 17:00:00'),
    (1030, 2, 103, 103001, 36, 2, '', '2024-03-06 17:00:00', '2024-03-06 17:00:00'),
    (9000, 1, 900, 900001, 31, 5, 'nada', '2024-03-06 17:00:00', '2024-03-06 17:00:00');

-- Status, priority, satisfaction

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, priority, snoozed_until, created_at, updated_at, last_activity_at)
VALUES
    -- 201: 50 characters of feedback in 200 bytes are not more than 50
    (201, 201, 1, 11, gen_random_uuid(), 0, 0, NULL, '2024-03-06', '2024-03-06', '2024-03-06'),
    -- 202: resolved without a message; 51 characters
    (202, 202, 1, 11, gen_random_uuid(), 1, 1, NULL, '2024-03-06', '2024-03-06', '2024-03-06'),
    -- 203: pending is open too; two responses at one instant
    (203, 203, 1, 11, gen_random_uuid(), 2, 2, NULL, '2024-03-06', '2024-03-06', '2024-03-06'),
    -- 204: snoozed without end; the newer response has the lower id, and a blank for feedback
    (204, 204, 1, 11, gen_random_uuid(), 3, 3, 'infinity', '2024-03-06', '2024-03-06', '2024-03-06'),
    -- 205: numbers that Chatwoot does not know, here and in the rating
    (205, 205, 1, 11, gen_random_uuid(), 7, 7, '2024-03-06 12:00:00.000001', '2024-03-06', '2024-03-06', '2024-03-06'),
    (206, 206, 1, 11, gen_random_uuid(), -1, -1, NULL, '2024-03-06', '2024-03-06', '2024-03-06'),
    -- 207: a priority without successor; the newest response is infinitely new and says nothing where an older one did
    (207, 207, 1, 11, gen_random_uuid(), 2147483647, 2147483647, NULL, '2024-03-06', '2024-03-06', '2024-03-06');

INSERT INTO csat_survey_responses
    (id, account_id, conversation_id, message_id, contact_id, rating, feedback_message, created_at, updated_at)
VALUES
    (2010, 1, 201, 201001, 31, 4, repeat('😀', 50), '2024-03-07', '2024-03-07'),
    (2020, 1, 202, 202001, 31, 3, repeat('é', 51), '2024-03-07', '2024-03-07'),
    (2032, 1, 203, 203002, 31, 5, 'o segundo', '2024-03-07', '2024-03-07'),
    (2031, 1, 203, 203001, 31, 1, 'o primeiro', '2024-03-07', '2024-03-07'),
    (2041, 1, 204, 204001, 31, 2, ' ', '2024-03-07 00:00:00.000001', '2024-03-07'),
    (2042, 1, 204, 204002, 31, 5, 'antes', '2024-03-07', '2024-03-09'),
    (2050, 1, 205, 205001, 31, 0, NULL, '2024-03-07', '2024-03-07'),
    (2060, 1, 206, 206001, 31, 6, 'fora da escala', '2024-03-07', '2024-03-07'),
    (2071, 1, 207, 207001, 31, 1, NULL, 'infinity', '2024-03-07'),
    (2072, 1, 207, 207002, 31, 4, 'antes', '294276-12-31 23:59:59.999999', '2024-03-07');

-- Contact and client

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, contact_id, created_at, updated_at, last_activity_at)
SELECT v.id, v.id, 1, 11, gen_random_uuid(), 0, v.contact_id, '2024-03-06', '2024-03-06', '2024-03-06'
FROM (VALUES
    -- 301: the client is not the contact, and first wrote in private
    (301, 37),
    -- 302: two clients at one instant: the lower message id is the first
    (302, 31),
    -- 303: the first message of a client names no sender; that a later one does is no help
    (303, 37),
    -- 304: no contact; `contact` and `Contact ` are not `Contact`; the client belongs to another account
    (304, NULL),
    -- 305: a client who does not exist, with an id beyond four bytes
    (305, 37),
    -- 306: the earliest message has the highest id
    (306, 33),
    -- 307: the contact has no phone number and the client an empty one
    (307, 37)
) AS v (id, contact_id);

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
SELECT
    v.id, v.id / 1000, 1, 11, 0, 0, v.created_at, v.created_at, v.private, 0, v.sender_type, v.sender_id, 'oi', NULL, '{}'
FROM (VALUES
    (301001, timestamp '2024-03-06 10:00', true, 'Contact', 32),
    (301002, '2024-03-06 10:01', false, 'Contact', 33),
    (302002, '2024-03-06 10:00', false, 'Contact', 33),
    (302001, '2024-03-06 10:00', false, 'Contact', 32),
    (303001, '2024-03-06 10:00', false, 'Contact', NULL),
    (303002, '2024-03-06 10:01', false, 'Contact', 32),
    (304001, '2024-03-06 10:00', false, 'contact', 33),
    (304002, '2024-03-06 10:01', false, 'Contact ', 33),
    (304003, '2024-03-06 10:02', false, 'Contact', 38),
    (305001, '2024-03-06 10:00', false, 'Contact', 9999999999),
    (306001, '2024-03-06 12:00', false, 'Contact', 32),
    (306002, '2024-03-06 11:00', false, 'Contact', 33),
    (307001, '2024-03-06 10:00', false, 'Contact', 36)
) AS v (id, created_at, private, sender_type, sender_id);

-- Times
-- created_at goes through the months and the edges of the day, for the calendar.

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, first_reply_created_at, updated_at, last_activity_at)
SELECT
    v.id, v.id, 1, 11, gen_random_uuid(), v.status, v.created_at, v.created_at + v.reply, v.created_at + v.update,
    v.created_at
FROM (VALUES
    -- 401: half a second rounds up, a microsecond less rounds down
    (401, 1, timestamp '2024-01-01 05:59:59.999999', interval '0.5 s', interval '0.499999 s'),
    -- 402, 403: half away from zero, below zero too, and never to the even neighbour
    (402, 1, '2024-02-29 06:00:00', '-0.5 s', '-1.5 s'),
    (403, 1, '2023-03-08 08:59:59', '2.5 s', '-2.5 s'),
    -- 404, 405: 0.05 minutes, both signs; exactly two hours, and a microsecond more
    (404, 1, '2022-04-01 09:00:00', '3 s', '7200 s'),
    (405, 1, '2022-05-07 11:59:00', '-3 s', '7200.000001 s'),
    -- 406: 2.999999 s are 3 s but not 0.05 minutes; not resolved
    (406, 0, '2021-06-06 12:00:00', '2.999999 s', '1 s'),
    -- 407, 408: 300 s by rounding are still fast, exactly 300 s are not
    (407, 1, '2024-07-30 17:59:59.999999', '299.999999 s', '0 s'),
    (408, 1, '2024-08-29 18:00:00', '300 s', '7199.999999 s'),
    -- 409, 410: the same about slow
    (409, 1, '2024-09-30 19:59:59', '1800 s', '1 s'),
    (410, 1, '2024-10-01 20:00:00', '1800.000001 s', '1 s'),
    -- 411: 0.15 minutes, which a float has a little below; the greatest difference that fits
    (411, 1, '2010-11-21 23:59:59.999999', '9 s', '2147483647.499999 s'),
    -- 412: one half beyond at either end
    (412, 1, '2024-12-30 00:00:00', '2147483647.5 s', '-2147483648.5 s'),
    -- 413: across 1970; the least difference that fits
    (413, 1, '1969-12-31 23:59:59.5', '0.5 s', '-2147483648.499999 s'),
    -- 414: minutes at the tenth with a float's resolution gone: 600000000002.999999 s
    (414, 1, '2000-01-01 00:00:00', '166666666:40:02.999999', '0 s'),
    -- 415, 416: the greatest and the least time to a reply that fit
    (415, 0, '2024-03-06', '2147483647.499999 s', '0 s'),
    (416, 0, '2024-03-06', '-2147483648.499999 s', '0 s')
) AS v (id, status, created_at, reply, update);

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, updated_at, last_activity_at,
     first_reply_created_at, waiting_since, contact_last_seen_at, agent_last_seen_at)
VALUES
    -- 421, 422: begun at infinity, either one; infinity less infinity
    (421, 421, 1, 11, gen_random_uuid(), 1, 'infinity', 'infinity', '2024-03-06', '2024-03-06', NULL, NULL, NULL),
    (422, 422, 1, 11, gen_random_uuid(), 1, '-infinity', '2024-03-06', '2024-03-06', '-infinity', NULL, NULL, NULL),
    -- 423: infinity everywhere else
    (423, 423, 1, 11, gen_random_uuid(), 1, '2010-01-03', '-infinity', 'infinity',
     'infinity', '-infinity', 'infinity', '-infinity'),
    -- 424: the last instant of year 9999, updated at the last that PostgreSQL has
    (424, 424, 1, 11, gen_random_uuid(), 1, '9999-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999', '2024-03-06',
     '9999-12-31 23:59:59.999999', NULL, NULL, NULL),
    -- 425: before Christ, in a zone that then kept the sun's time (0:36:45 behind); a reply too late even for minutes
    (425, 425, 1, 31, gen_random_uuid(), 0, '0044-03-15 00:30:00 BC', '0044-03-15 00:30:00 BC', '2024-03-06',
     '294276-12-31 23:59:59.999999', NULL, NULL, NULL),
    -- 426: later than date libraries go; a reply long before
    (426, 426, 1, 11, gen_random_uuid(), 0, '294276-06-15 10:00:00', '294276-06-15 10:00:00', '2024-03-06',
     '2024-03-06', NULL, NULL, NULL),
    -- 427: waiting, seen, to the microsecond
    (427, 427, 1, 11, gen_random_uuid(), 0, '2024-03-06', '2024-03-06', '2024-03-06 00:00:00.000001',
     NULL, '2024-03-06 00:00:00.000002', '2024-03-06 00:00:00.000003', '2024-03-06 00:00:00.100000');

-- Messages

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, updated_at, last_activity_at)
SELECT v.id, v.id, 1, 11, gen_random_uuid(), v.status, '2024-05-06 09:00', '2024-05-06 10:00', '2024-05-06 10:00'
FROM (VALUES
    -- 501: only private notes
    (501, 1),
    -- 502: all at one instant and inserted backwards, private ones outside the public ones
    (502, 1),
    -- 503: one public message, without content
    (503, 0),
    -- 504: one eighth and three eighths; an average length of 2.5
    (504, 0),
    -- 505: 200 messages: 0.005 and 0.015; an average length of 0.5, empty contents counted
    (505, 0),
    -- 506 to 509: 20, 21, 5 and 6 public messages, each beside one private
    (506, 0), (507, 0), (508, 0), (509, 0),
    -- 510, 511, 512: averages of 0.05, 0.25 and 0.5 s; durations of 0.1, 0.25 and 1.5 s
    (510, 0), (511, 0), (512, 0),
    -- 513: from minus infinity to infinity
    (513, 0),
    -- 514: from before Christ to PostgreSQL's end: too long for an integer, not for the average
    (514, 0),
    -- 515: control characters, escapes, marks, joined emoji; then 150,000 emoji
    (515, 0),
    -- 516: kinds of sender that look like others
    (516, 1),
    -- 517: NULL, empty and peculiar values inside message_compiled
    (517, 0),
    -- 518: ids against time; fractions and midnight in sent_at; messages of the inbox and account it was in before
    (518, 0),
    -- 519, 520: the longest duration that fits, and a microsecond more
    (519, 0), (520, 0)
) AS v (id, status);

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
SELECT
    v.id, v.id / 1000, 1, 11, 1, 0, v.created_at, v.created_at, v.private, 0, v.sender_type, v.sender_id, v.content,
    NULL, '{}'
FROM (VALUES
    (501001, timestamp '2024-05-06 09:00:01', true, 'User', 1, 'nota'),
    (501002, '2024-05-06 09:00:02', true, 'Contact', 32, 'nota'),
    (501003, '2024-05-06 09:00:03.5', true, 'AgentBot', 1, 'nota'),
    (502004, '2024-05-06 10:00', true, 'User', 1, 'p'),
    (502003, '2024-05-06 10:00', false, 'Contact', 32, 'B'),
    (502002, '2024-05-06 10:00', false, 'User', 1, 'A'),
    (502001, '2024-05-06 10:00', true, 'User', 1, 'q'),
    (503001, '2024-05-06 10:00', false, 'User', 1, NULL),
    (504001, '2024-05-06 10:00', false, 'User', 1, 'ab'),
    (504002, '2024-05-06 10:01', false, 'Contact', 32, 'abc'),
    (504003, '2024-05-06 10:02', false, 'Contact', 32, NULL),
    (504004, '2024-05-06 10:03', false, 'Contact', 32, NULL),
    (504005, '2024-05-06 10:04', false, NULL, NULL, NULL),
    (504006, '2024-05-06 10:05', false, NULL, NULL, NULL),
    (504007, '2024-05-06 10:06', true, NULL, NULL, 'a private length does not count'),
    (504008, '2024-05-06 10:10', false, NULL, NULL, NULL),
    (510001, '2024-05-06 10:00:00', false, 'User', 1, 'x'),
    (510002, '2024-05-06 10:00:00.09', false, 'User', 1, 'x'),
    (510003, '2024-05-06 10:00:00.1', false, 'User', 1, 'x'),
    (510004, '2024-05-06 10:00:59', true, 'User', 1, 'x'),
    (511001, '2024-05-06 10:00:00', false, 'User', 1, 'x'),
    (511002, '2024-05-06 10:00:00.25', false, 'User', 1, 'x'),
    (512001, '2024-05-06 10:00:00', false, 'User', 1, 'x'),
    (512002, '2024-05-06 10:00:00.1', false, 'User', 1, 'x'),
    (512003, '2024-05-06 10:00:00.2', false, 'User', 1, 'x'),
    (512004, '2024-05-06 10:00:01.5', false, 'User', 1, 'x'),
    (513001, 'infinity', false, 'User', 1, 'last'),
    (513002, '2024-05-06 10:00', false, 'User', 1, 'middle'),
    (513003, '-infinity', false, 'User', 1, 'first'),
    (514001, '0044-03-15 00:00 BC', false, 'User', 1, 'first'),
    (514002, '294276-12-31 23:59:59.999999', false, 'User', 1, 'last'),
    (515001, '2024-05-06 10:00:00', false, 'Contact', 32,
     E'\x01\t\r\n"\\/\x7f\u0085\u2028\u200F\u202E👨\u200D👩\u200D👧e\u0301'),
    (515002, '2024-05-06 10:00:01', false, 'User', 1, repeat('😀', 150000)),
    (516001, '2024-05-06 10:00:00', false, '', 1, 'x'),
    (516002, '2024-05-06 10:00:01', false, 'USER', 1, 'x'),
    (516003, '2024-05-06 10:00:02', false, 'AgentBot', 1, 'x'),
    (516004, '2024-05-06 10:00:03', false, NULL, 1, 'x'),
    (516005, '2024-05-06 10:00:04', false, ' User', 1, 'x'),
    (519001, '2024-05-06', false, 'User', 1, 'x'),
    (519002, timestamp '2024-05-06' + interval '2147483647.499999 s', false, 'User', 1, 'x'),
    (520001, '2024-05-06', false, 'User', 1, 'x'),
    (520002, timestamp '2024-05-06' + interval '2147483647.5 s', false, 'User', 1, 'x')
) AS v (id, created_at, private, sender_type, sender_id, content);

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
SELECT
    505000 + n, 505, 1, 11, 1, 0, timestamp '2024-05-06 10:00' + n * interval '1 s', '2024-05-06 11:00', false, 0,
    CASE WHEN n = 1 THEN 'User' WHEN n <= 4 THEN 'Contact' ELSE 'AgentBot' END, 32,
    CASE WHEN n = 200 THEN repeat('x', 100) ELSE '' END, NULL, '{}'
FROM generate_series(1, 200) AS n;

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
SELECT
    v.conversation_id * 1000 + n, v.conversation_id, 1, 11, 0, 0, '2024-05-06 10:00', '2024-05-06 11:00', n = 0, 0,
    NULL, NULL, 'x', NULL, '{}'
FROM (VALUES (506, 20), (507, 21), (508, 5), (509, 6)) AS v (conversation_id, public_count)
CROSS JOIN LATERAL generate_series(0, v.public_count) AS n;

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, source_id, sentiment)
VALUES
    (517001, 517, 1, 11, 0, 0, '2024-05-06 10:00:00', '2024-05-06', false, NULL, NULL, NULL, NULL, NULL, NULL),
    (517002, 517, 1, 11, 0, 0, '2024-05-06 10:00:01', '2024-05-06', false, 3, '', 9223372036854775807, '', '', 'null'),
    (517003, 517, 1, 11, 9, -5, '2024-05-06 10:00:02', '2024-05-06', true, -1, 'User', -1, '{"a": "\u0041"}', 'a"b',
     '{"e": 1e30, "dup": 1, "dup": 2, "neg": -0.0, "score": 123456789012345678901234567890.10}'),
    (518001, 518, 1, 11, 0, 0, '2024-05-06 12:00:00.120000', '2024-05-06', false, 0, 'User', 1, 'third', NULL, '{}'),
    (518002, 518, 2, 12, 0, 0, '2024-05-06 11:00:00.000001', '2024-05-06', false, 0, 'User', 1, 'second', NULL, '{}'),
    (518003, 518, 2, 99, 0, 0, '2024-05-06', '2024-05-06', false, 0, 'User', 1, 'first', NULL, '{}');

-- Calendar

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, updated_at, last_activity_at)
SELECT v.id, v.id, 1, v.inbox_id, gen_random_uuid(), 0, v.created_at, v.created_at, v.created_at
FROM (VALUES
    -- São Paulo 2018. Summer time begins at midnight, which does not exist; it ends at midnight, and the hour before
    -- comes twice
    (701, 21, timestamp '2018-11-04 02:59:59.999999'),
    (702, 21, '2018-11-04 03:00:00'),
    (703, 21, '2018-02-18 01:30:00'),
    (704, 21, '2018-02-18 02:30:00'),
    -- ... and from 2019 on there is none
    (705, 21, '2019-11-03 03:00:00'),
    -- a year and an ISO week earlier than in UTC
    (706, 21, '2021-01-01 02:30:00'),
    -- before standard time: 3:06:28 behind
    (707, 21, '1900-01-01 03:06:27.999999'),
    (708, 21, '1900-01-01 03:06:28'),
    -- Lisbon: the two changes of 2024
    (711, 31, '2024-03-31 00:59:59'),
    (712, 31, '2024-03-31 01:00:00'),
    (713, 31, '2024-10-27 00:30:00'),
    (714, 31, '2024-10-27 01:30:00'),
    -- a year in which it kept Central European Time
    (715, 31, '1993-07-01 12:00:00'),
    -- beyond the years that zone files list one by one: the rule goes on
    (716, 31, '2150-07-01 12:00:00'),
    -- Kathmandu, 5:45 ahead: the other side of midnight, of a week and of an ISO year
    (721, 41, '2023-01-01 18:14:59.999999'),
    (722, 41, '2023-01-01 18:15:00')
) AS v (id, inbox_id, created_at);

-- Chatwoot's own measures

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, updated_at, last_activity_at)
SELECT id, id, 1, 11, gen_random_uuid(), CASE WHEN id IN (802, 804) THEN 0 ELSE 1 END, '2024-05-06', '2024-05-06', '2024-05-06'
FROM generate_series(801, 806) AS id;

INSERT INTO reporting_events
    (id, conversation_id, account_id, inbox_id, user_id, name, value, value_in_business_hours, event_start_time,
     event_end_time, created_at, updated_at)
SELECT id, conversation_id, 1, 11, user_id, name, value, business, started_at, ended_at, created_at, created_at
FROM (VALUES
    -- 801: the first of two first responses, by time and not by id; a resolution by an agent and, later, one by a bot
    (8019, 801, 1, 'first_response', 62.25, 30.05, timestamp '2024-05-06 10:00', timestamp '2024-05-06 10:01:02.25',
     timestamp '2024-05-06 10:01:03'),
    (8011, 801, 2, 'first_response', 7, 7, NULL, NULL, '2024-05-06 12:00'),
    (8012, 801, 1, 'reply_time', 1, 1, NULL, NULL, '2024-05-06 10:02'),
    (8013, 801, 1, 'reply_time', NULL, 1, NULL, NULL, '2024-05-06 10:03'),
    (8014, 801, 1, 'reply_time', 2.5, 1, NULL, NULL, '2024-05-06 10:04'),
    (8015, 801, 1, 'conversation_resolved', 3600, 1800.04, NULL, '2024-05-06 11:00', '2024-05-06 11:00:01'),
    (8016, 801, NULL, 'conversation_resolved', 7200, NULL, NULL, '2024-05-06 13:00', '2024-05-06 13:00:01'),
    (8017, 801, NULL, 'conversation_bot_resolved', 7200, NULL, NULL, '2024-05-06 13:00', '2024-05-06 13:00:02'),
    -- 802: open again; the bot resolved it before the agent did; two hand-offs, the last without an end
    (8021, 802, NULL, 'conversation_bot_resolved', 5, 5, NULL, '2024-05-06 09:00', '2024-05-06 09:00'),
    (8022, 802, NULL, 'conversation_resolved', 5, 5, NULL, '2024-05-06 09:00', '2024-05-06 09:00'),
    (8023, 802, 1, 'conversation_resolved', 9, 9, NULL, NULL, '2024-05-06 10:00'),
    (8024, 802, NULL, 'conversation_bot_handoff', 1, 1, NULL, '2024-05-06 08:00', '2024-05-06 08:00'),
    (8025, 802, NULL, 'conversation_bot_handoff', 1, 1, NULL, NULL, '2024-05-06 08:30'),
    -- 803: numbers that are rounded away from zero, or too large; an event of a name that nobody knows
    (8031, 803, NULL, 'first_response', -0.05, 123456789012, NULL, NULL, '2024-05-06 10:00'),
    (8032, 803, NULL, 'conversation_resolved', 99999999999.94, 99999999999.96, NULL, NULL, '2024-05-06 10:00'),
    (8033, 803, NULL, 'from_the_future', 1, 1, NULL, NULL, '2024-05-06 09:00'),
    -- 804: open, and never resolved. 805: two resolutions of the same instant, the higher id is the last
    (8041, 804, NULL, 'conversation_opened', 0, 0, '2024-05-06 10:00', '2024-05-06 10:00', '2024-05-06 10:00'),
    (8052, 805, NULL, 'conversation_resolved', 2, 2, NULL, NULL, '2024-05-06 10:00'),
    (8051, 805, NULL, 'conversation_resolved', 1, 1, NULL, NULL, '2024-05-06 10:00')
    -- 806: none
) AS v (id, conversation_id, user_id, name, value, business, started_at, ended_at, created_at);

-- Who handled it

INSERT INTO agent_bots (id, name, created_at, updated_at) VALUES
    (1, 'Robô', '2024-01-01', '2024-01-01'),
    (2, repeat('b', 256), '2024-01-01', '2024-01-01');

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, assignee_agent_bot_id, waiting_since, created_at, updated_at,
     last_activity_at)
VALUES
    -- 811: an agent, and a private note of the bot. 812: a bot, and a private note of the agent. 813: Captain and an echo
    (811, 811, 1, 11, gen_random_uuid(), 0, NULL, NULL, '2024-05-06', '2024-05-06', '2024-05-06'),
    (812, 812, 1, 11, gen_random_uuid(), 2, NULL, '2024-05-06', '2024-05-06', '2024-05-06', '2024-05-06'),
    (813, 813, 1, 11, gen_random_uuid(), 1, 2, '2024-05-06', '2024-05-06', '2024-05-06', '2024-05-06'),
    -- 814: a rule, a template and an activity of a user. 815: a bot is assigned and said nothing. 816: a bot that is gone
    (814, 814, 1, 11, gen_random_uuid(), 0, NULL, NULL, '2024-05-06', '2024-05-06', '2024-05-06'),
    (815, 815, 1, 11, gen_random_uuid(), 0, 1, NULL, '2024-05-06', '2024-05-06', '2024-05-06'),
    (816, 816, 1, 11, gen_random_uuid(), 0, 999, NULL, '2024-05-06', '2024-05-06', '2024-05-06'),
    -- 817: texts that were deleted, and attributes in all their forms
    (817, 817, 1, 11, gen_random_uuid(), 3, NULL, NULL, '2024-05-06', '2024-05-06', '2024-05-06');

INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, content_type, created_at, updated_at, private, status,
     sender_type, sender_id, content, content_attributes)
SELECT
    v.conversation_id * 1000 + n, v.conversation_id, 1, 11, message_type, content_type,
    timestamp '2024-05-06 10:00' + n * interval '1 minute', '2024-05-06', private, status, sender_type, 1, content,
    attributes::json
FROM (VALUES
    (811, 1, 0, 0, false, 0, 'Contact', 'hello', '{}'),
    (811, 2, 1, 0, false, 0, 'User', 'hi', '{}'),
    (811, 3, 1, 0, true, 0, 'AgentBot', 'a note', '{}'),
    (811, 4, 2, 0, false, 0, NULL, 'assigned', '{}'),
    (811, 5, 0, 0, false, 0, 'Contact', 'thanks', '{}'),
    (811, 6, 2, 0, false, 0, NULL, 'labelled', '{}'),
    (812, 1, 0, 0, false, 0, 'Contact', 'hello', '{}'),
    (812, 2, 1, 0, false, 3, 'AgentBot', 'not delivered', '{}'),
    (812, 3, 1, 0, true, 0, 'User', 'a note', '{}'),
    (813, 1, 1, 0, false, 0, 'Captain::Assistant', 'may I help?', '{}'),
    (813, 2, 1, 0, false, 0, NULL, 'written on the phone', '{"external_echo": true}'),
    (813, 3, 3, 9, false, 0, NULL, 'How did we do?', '{}'),
    (814, 1, 1, 0, false, 0, 'User', 'by a rule', '{"automation_rule_id": 7}'),
    (814, 2, 3, 0, false, 0, NULL, 'greeting', '{}'),
    (814, 3, 2, 0, false, 0, 'User', 'resolved', '{}'),
    -- an incoming message of a user is no message of an agent
    (814, 4, 0, 0, false, 0, 'User', 'forwarded', '{"external_echo": true}'),
    (816, 1, 0, 0, false, 0, 'Contact', NULL, NULL),
    (817, 1, 0, 0, false, 0, 'Contact', 'This message was deleted', '{"deleted": true}'),
    (817, 2, 0, 0, false, 0, 'Contact', 'first that is left', '"{\"deleted\":null,\"external_echo\":false}"'),
    (817, 3, 1, 0, false, 0, 'User', 'last that is left', '"{\"automation_rule_id\":null}"'),
    (817, 4, 1, 0, false, 0, 'User', 'This message was deleted', '"{\"deleted\":true}"'),
    (817, 5, 1, 0, false, 0, 'User', 'a rule, as text', '"{\"automation_rule_id\":\"9\"}"'),
    -- the word inside a text is no mark
    (817, 6, 0, 0, false, 0, 'Contact', 'quoted', '{"email": {"subject": "deleted and external_echo"}}')
) AS v (conversation_id, n, message_type, content_type, private, status, sender_type, content, attributes);

INSERT INTO csat_survey_responses
    (id, account_id, conversation_id, message_id, contact_id, rating, assigned_agent_id, created_at, updated_at)
VALUES
    (8131, 1, 813, 813002, 31, 2, 2, '2024-05-06 11:00', '2024-05-06'),
    (8132, 1, 813, 813003, 31, 4, 1, '2024-05-06 12:00', '2024-05-06'),
    (8141, 1, 814, 814001, 31, 4, 999, '2024-05-06 12:00', '2024-05-06');

-- Also kept

INSERT INTO contacts
    (id, account_id, name, custom_attributes, additional_attributes, country_code, blocked, created_at, updated_at)
VALUES
    (39, 1, 'Eva', '{"cpf": "000"}', 'null', 'BRA', true, '2023-01-01 10:00', '2023-01-01'),
    (40, 1, 'Rui', NULL, '{}', '', false, '2023-01-01 11:00', '2023-01-01');
INSERT INTO sla_policies (id, name, account_id, created_at, updated_at) VALUES
    (1, 'Ouro', 1, '2024-01-01', '2024-01-01'),
    (2, '', 1, '2024-01-01', '2024-01-01');
INSERT INTO campaigns (id, display_id, title, message, account_id, inbox_id, created_at, updated_at) VALUES
    (8, 8, repeat('t', 256), 'hello', 1, 11, '2024-01-01', '2024-01-01');

INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, assignee_id, contact_id, campaign_id, identifier,
     additional_attributes, sla_policy_id, created_at, updated_at, last_activity_at)
VALUES
    (821, 821, 1, 11, gen_random_uuid(), 0, 1, 39, 8, 'ticket-821', '{"referer": "https://example.com/"}', 1,
     '2024-05-06', '2024-05-06', '2024-05-06'),
    (822, 822, 1, 11, gen_random_uuid(), 0, 3, 40, 999, '', '{}', 2, '2024-05-06', '2024-05-06', '2024-05-06'),
    (823, 823, 1, 11, gen_random_uuid(), 0, 2, NULL, NULL, NULL, NULL, 999, '2024-05-06', '2024-05-06', '2024-05-06');

-- the newest state of the conversation's own policy counts
INSERT INTO applied_slas (id, account_id, sla_policy_id, conversation_id, sla_status, created_at, updated_at) VALUES
    (1, 1, 1, 821, 1, '2024-05-06', '2024-05-06'),
    (2, 1, 1, 821, 3, '2024-05-06', '2024-05-06'),
    (3, 1, 2, 821, 2, '2024-05-06', '2024-05-06'),
    (4, 1, 2, 822, 9, '2024-05-06', '2024-05-06');
INSERT INTO conversation_participants (id, account_id, user_id, conversation_id, created_at, updated_at) VALUES
    (1, 1, 3, 821, '2024-05-06', '2024-05-06'),
    (2, 1, 1, 821, '2024-05-06', '2024-05-06'),
    (3, 1, 999, 822, '2024-05-06', '2024-05-06');
INSERT INTO messages
    (id, conversation_id, account_id, inbox_id, message_type, created_at, updated_at, private, content)
VALUES
    (821001, 821, 1, 11, 0, '2024-05-06', '2024-05-06', false, ''),
    (821002, 821, 1, 11, 0, '2024-05-06', '2024-05-06', true, '');
INSERT INTO attachments (id, message_id, account_id, created_at, updated_at) VALUES
    (1, 821001, 1, '2024-05-06', '2024-05-06'),
    (2, 821001, 1, '2024-05-06', '2024-05-06'),
    (3, 821002, 1, '2024-05-06', '2024-05-06');

-- Working hours of an inbox in Kathmandu, 5:45 ahead: Monday 9 to 17:30, Tuesday all day, Wednesday closed, Thursday two
-- rows of which the first counts, Friday none; and of one where they are switched off
UPDATE inboxes SET working_hours_enabled = id = 41 WHERE id IN (21, 41);
INSERT INTO working_hours
    (id, inbox_id, account_id, day_of_week, closed_all_day, open_all_day, open_hour, open_minutes, close_hour,
     close_minutes, created_at, updated_at)
SELECT id, inbox_id, 1, day, closed, all_day, open, open_minutes, close, close_minutes, '2024-01-01', '2024-01-01'
FROM (VALUES
    (1, 41, 1, false, false, 9, 0, 17, 30),
    (2, 41, 2, NULL, true, NULL, NULL, NULL, NULL),
    (3, 41, 3, true, false, 9, 0, 17, 0),
    (4, 41, 4, false, NULL, 10, NULL, 11, NULL),
    (5, 41, 4, false, false, 0, 0, 23, 59),
    (6, 21, 1, false, true, NULL, NULL, NULL, NULL)
) AS v (id, inbox_id, day, closed, all_day, open, open_minutes, close, close_minutes);
INSERT INTO conversations
    (id, display_id, account_id, inbox_id, uuid, status, created_at, updated_at, last_activity_at)
SELECT v.id, v.id, 1, inbox_id, gen_random_uuid(), 0, at, at, at
FROM (VALUES
    (831, 41, timestamp '2024-05-06 03:14:59.999999'),
    (832, 41, '2024-05-06 03:15:00'),
    (833, 41, '2024-05-06 11:45:00'),
    (834, 41, '2024-05-06 11:45:00.000001'),
    (835, 41, '2024-05-06 18:15:00'),
    (836, 41, '2024-05-08 06:00:00'),
    (837, 41, '2024-05-09 05:00:00'),
    (838, 41, '2024-05-09 06:00:00'),
    (839, 41, '2024-05-10 06:00:00'),
    (840, 21, '2024-05-06 12:00:00')
) AS v (id, inbox_id, at);
