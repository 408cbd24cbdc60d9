"""Runs data movers and Tidemark on one view, in turns, with traps; called by scripts/bench/peers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SOURCE, TARGET = os.environ["TIDEMARK_SOURCE_URL"], os.environ["PEERS_OWNER"]
SCRATCH = Path(os.environ["PEERS_SCRATCH"])
ENVS = Path(os.environ["PEERS_DIR"])
PAGE = Path("docs/benchmarks.md")
BEGIN, END = "<!-- written by make bench-peers: begin -->", "<!-- written by make bench-peers: end -->"
VIEW, KEY, CURSOR = "peer_view", "conversation_id", "conversation_updated_at"
LIMIT = 1800  # seconds that a tool may take for one sync
# The traps ask for a dozen syncs of each tool, so they have a smaller sample.
TRAPS_AT = 20_000


def sql(url, statement):
    """The result of one statement, as text."""
    command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", url, "-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(command, **more):
    """Runs a tool; raises if the tool fails."""
    environment = os.environ | more
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=SCRATCH, env=environment)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise RuntimeError(said[-1][:300] if said else f"ended with {done.returncode}")


def plain(url, scheme="postgresql"):
    """The URL in these tools' form; some require a password, even if the server does not."""
    rest = url.split("://", 1)[1]
    user, _, place = rest.rpartition("@")
    rest = (user if ":" in user else f"{user or 'postgres'}:none") + "@" + place
    return f"{scheme}://{rest}" + ("&" if "?" in rest else "?") + "sslmode=disable"


def database():
    """Creates an empty target."""
    server = os.environ["TIDEMARK_TEST_DATABASE_URL"]
    name = os.environ["PEERS_TARGET"]
    sql(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    sql(server, f"CREATE DATABASE {name}")


class Tool:
    """A tool that moves the view's rows into `table`."""

    table = "public.peer_rows"

    def begin(self):
        database()

    def where(self, conversation):
        return f"{KEY} = {conversation}"

    def there(self, conversation):
        return sql(TARGET, f"SELECT count(*) FROM {self.table} WHERE {self.where(conversation)}") != "0"

    def priority(self, conversation):
        return sql(TARGET, f"SELECT max(priority) FROM {self.table} WHERE {self.where(conversation)}")


class Sling(Tool):
    name = "sling 1.4.11"

    def sync(self):
        # the package named sling downloads its program, this one contains it
        program = next((ENVS / "sling").glob("lib/python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"))
        program.chmod(0o755)
        run([str(program), "run", "--src-conn", "FROM_DB", "--src-stream", f"public.{VIEW}",
             "--tgt-conn", "TO_DB", "--tgt-object", self.table, "--mode", "incremental",
             "--primary-key", KEY, "--update-key", CURSOR],
            FROM_DB=plain(SOURCE, "postgres"), TO_DB=plain(TARGET, "postgres"), SLING_DISABLE_TELEMETRY="TRUE")


class Ingestr(Tool):
    name = "ingestr 0.15.9"

    def sync(self):
        # without `query:` it fails at the first uuid
        query = f"query:select * from public.{VIEW}"
        if sql(TARGET, f"SELECT to_regclass('{self.table}') IS NOT NULL") == "t":
            newest = sql(TARGET, f"SELECT to_char(max({CURSOR}), 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM {self.table}")
            query += f" where {CURSOR} >= '{newest}'"
        run([str(ENVS / "ingestr/bin/ingestr"), "ingest", "--source-uri", plain(SOURCE), "--source-table",
             query, "--dest-uri", plain(TARGET), "--dest-table", self.table,
             "--incremental-strategy", "merge", "--incremental-key", CURSOR, "--primary-key", KEY, "--yes"],
            DISABLE_TELEMETRY="true", INGESTR_DISABLE_TELEMETRY="true")


class Dlt(Tool):
    name = "dlt 1.31.0, pyarrow, upsert"
    table = "peer.peer_view"
    SCRIPT = """
import dlt, sys
from dlt.sources.sql_database import sql_table
source, target, view, key, cursor = sys.argv[1:]
rows = sql_table(credentials=source, table=view, schema="public", backend="pyarrow",
                 incremental=dlt.sources.incremental(cursor), primary_key=key)
rows.apply_hints(write_disposition={"disposition": "merge", "strategy": "upsert"}, primary_key=key)
pipeline = dlt.pipeline("peer", destination=dlt.destinations.postgres(target), dataset_name="peer")
pipeline.run(rows)
"""

    def begin(self):
        super().begin()
        self.home = SCRATCH / f"dlt-{time.monotonic_ns()}"

    def sync(self):
        run([str(ENVS / "dlt/bin/python"), "-c", self.SCRIPT, plain(SOURCE, "postgresql+psycopg2"), plain(TARGET),
             VIEW, KEY, CURSOR],
            DLT_DATA_DIR=str(self.home), RUNTIME__DLTHUB_TELEMETRY="false")


class Singer(Tool):
    name = "tap-postgres 0.10.0, target-postgres 0.8.1"
    table = f"public.{VIEW}"

    def begin(self):
        super().begin()
        self.state = None
        tap = ENVS / "singer/bin/tap-postgres"
        (SCRATCH / "tap.json").write_text(json.dumps({"sqlalchemy_url": plain(SOURCE), "filter_schemas": ["public"]}))
        (SCRATCH / "target.json").write_text(json.dumps({"sqlalchemy_url": plain(TARGET), "default_target_schema": "public"}))
        found = subprocess.run([tap, "--config", "tap.json", "--discover"], check=True, capture_output=True, cwd=SCRATCH)
        catalog = json.loads(found.stdout)
        streams = [stream for stream in catalog["streams"] if stream["tap_stream_id"] == f"public-{VIEW}"]
        for stream in streams:
            stream["key_properties"] = [KEY]
            stream["replication_method"], stream["replication_key"] = "INCREMENTAL", CURSOR
            for entry in stream["metadata"]:
                entry["metadata"]["selected"] = True
                if not entry["breadcrumb"]:
                    entry["metadata"] |= {"replication-method": "INCREMENTAL", "replication-key": CURSOR,
                                          "table-key-properties": [KEY]}
        (SCRATCH / "catalog.json").write_text(json.dumps({"streams": streams}))

    def sync(self):
        bin_ = ENVS / "singer/bin"
        state = ""
        if self.state:
            (SCRATCH / "state.json").write_text(self.state)
            state = "--state state.json"
        run(["bash", "-o", "pipefail", "-c",
             f"{bin_}/tap-postgres --config tap.json --catalog catalog.json {state} | "
             f"{ENVS}/singer-target/bin/target-postgres --config target.json >states.out"])
        states = (SCRATCH / "states.out").read_text().strip().splitlines()
        self.state = states[-1] if states else self.state


class Tidemark(Tool):
    table = "conversations_analytics"

    def __init__(self, mode):
        self.mode, self.name = mode, f"Tidemark, `{mode}` mode"

    def tidemark(self, *arguments, **more):
        run([os.path.abspath(os.environ["TIDEMARK_BIN"]), *arguments], TIDEMARK_SOURCE_MODE=self.mode,
            TIDEMARK_SOURCE_VIEW="peer_wide", TIDEMARK_HTTP_LISTEN="off", RUST_LOG="error", **more)

    def begin(self):
        super().begin()
        self.tidemark("migrate", TIDEMARK_DATABASE_URL=TARGET)
        self.tidemark("tenant", "add", "--id", "1", "--name", "One", "--account-id", "1")
        self.tidemark("inbox", "discover", "--tenant", "1")

    def sync(self):
        self.tidemark("sync", "--local", "--tenant", "1")

    def where(self, conversation):
        return f"{KEY} = {conversation} AND source_deleted_at IS NULL"


def timed(tool):
    begun = time.monotonic()
    tool.sync()
    return time.monotonic() - begun


CHANGE = """UPDATE conversations SET updated_at = clock_timestamp() AT TIME ZONE 'UTC', priority = 2 WHERE id IN
    (SELECT id FROM conversations WHERE account_id = 1 ORDER BY md5(id::text || clock_timestamp()::text) LIMIT 1000)"""
NOW = "clock_timestamp() AT TIME ZONE 'UTC'"


class Answer(dict):
    def tell(self, name, value):
        self[name] = value
        print(f"  {name}: {value}", file=sys.stderr, flush=True)


def measure(tool):
    """Times of a tool; a failure is reported in place of the result."""
    print(tool.name, file=sys.stderr, flush=True)
    answer = Answer()
    try:
        tool.begin()
        answer.tell("full", f"{timed(tool):.1f} s")
        answer.tell("nothing", f"{timed(tool):.2f} s")
        sql(SOURCE, CHANGE)
        # without it PostgreSQL expects one changed row, and its plan for the view takes many minutes
        sql(SOURCE, "ANALYZE conversations")
        answer.tell("changed", f"{timed(tool):.2f} s")
    except (RuntimeError, subprocess.SubprocessError) as error:
        answer.tell("failed", str(error)[:120])
    return answer


def run_traps(tool, answer):
    print(tool.name, file=sys.stderr, flush=True)
    try:
        tool.begin()
        tool.sync()
    except (RuntimeError, subprocess.SubprocessError) as error:
        answer.tell("failed", str(error)[:120])
        return
    for name, trap in TRAPS.items():
        try:
            answer.tell(name, "ok" if trap(tool) else "**lost**")
        except (RuntimeError, subprocess.SubprocessError) as error:
            print(f"  {error}", file=sys.stderr)
            answer.tell(name, "**fails**")


def pick():
    """A conversation that no trap has used yet."""
    pick.last = int(sql(SOURCE, f"SELECT min(id) FROM conversations WHERE account_id = 1 AND id > {pick.last}"))
    return pick.last


pick.last = 100


def late(tool):
    """A row written before another one, and committed after the other one was synced."""
    mine, other = pick(), pick()
    writer = subprocess.Popen(["psql", "-qXAt", SOURCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    writer.stdin.write(f"BEGIN; UPDATE conversations SET priority = 3, updated_at = {NOW} WHERE id = {mine}; SELECT 'x';\n")
    writer.stdin.flush()
    writer.stdout.readline()
    sql(SOURCE, f"UPDATE conversations SET priority = 3, updated_at = {NOW} WHERE id = {other}")
    tool.sync()
    writer.communicate("COMMIT;\n")
    tool.sync()
    return tool.priority(mine) == "3"


def tie(tool):
    """A row that gets the newest timestamp after rows with it were synced."""
    mine = pick()
    sql(SOURCE, f"UPDATE conversations SET priority = 3, updated_at = (SELECT max(updated_at) FROM conversations "
                f"WHERE account_id = 1) WHERE id = {mine}")
    tool.sync()
    return tool.priority(mine) == "3"


def again(tool):
    """A row that changes twice at one timestamp."""
    mine = pick()
    sql(SOURCE, f"UPDATE conversations SET priority = 1, updated_at = {NOW} WHERE id = {mine}")
    tool.sync()
    sql(SOURCE, f"UPDATE conversations SET priority = 3 WHERE id = {mine}")
    tool.sync()
    return tool.priority(mine) == "3"


def delete(tool):
    """A conversation that is deleted with its messages."""
    mine = pick()
    sql(SOURCE, f"DELETE FROM messages WHERE conversation_id = {mine}; DELETE FROM conversations WHERE id = {mine}")
    tool.sync()
    return not tool.there(mine)


def twice(tool):
    """A conversation with two satisfaction answers, which the view shows twice."""
    mine = pick()
    for _ in range(2):
        sql(SOURCE, f"""INSERT INTO csat_survey_responses (account_id, conversation_id, message_id, rating, contact_id,
            created_at, updated_at) SELECT 1, {mine}, (SELECT max(message_id) + 1 FROM csat_survey_responses) + 1000000, 5,
            contact_id, {NOW}, {NOW} FROM conversations WHERE id = {mine}""")
    sql(SOURCE, f"UPDATE conversations SET priority = 3, updated_at = {NOW} WHERE id = {mine}")
    tool.sync()
    found = sql(TARGET, f"SELECT count(*) FROM {tool.table} WHERE {tool.where(mine)}")
    # a rest of it would change the next tool's traps
    return tool.priority(mine) == "3" and found == "1"


TRAPS = {"late commit": late, "tie": tie, "silent second write": again, "delete": delete, "shown twice": twice}


def make_source(conversations):
    """Makes the sample and the view. Returns the number of the largest tenant's conversations."""
    subprocess.run([os.environ["TIDEMARK_BIN"], "sample", "create", "--replace", "--conversations", str(conversations),
                    "--tenants", "8", "--seed", "1"], check=True, capture_output=True)
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", SOURCE, "-f", Path(__file__).with_name("peer_view.sql")], check=True)
    inboxes = sql(SOURCE, "SELECT string_agg(id::text, ',') FROM inboxes WHERE account_id = 1")
    sql(SOURCE, f"CREATE VIEW {VIEW} AS SELECT * FROM peer_wide WHERE inbox_id IN ({inboxes})")
    forget_second_answers()
    sql(SOURCE, "VACUUM (ANALYZE)")
    pick.last = 100
    return sql(SOURCE, f"SELECT count(*) FROM conversations WHERE inbox_id IN ({inboxes})")


def forget_second_answers():
    """Conversations that the view shows twice are a trap of their own."""
    sql(SOURCE, """DELETE FROM csat_survey_responses a USING csat_survey_responses b
        WHERE a.conversation_id = b.conversation_id AND a.id < b.id""")


def main():
    conversations, *wanted = sys.argv[1:]
    peers = {"sling": Sling, "ingestr": Ingestr, "dlt": Dlt, "singer": Singer}
    tools = [Tidemark("tables"), Tidemark("view"), *(peers[name]() for name in wanted)]
    columns = ["full", "nothing", "changed", *TRAPS]
    rows = make_source(conversations)
    answers = [measure(tool) for tool in tools]
    make_source(min(int(conversations), TRAPS_AT))
    for tool, answer in zip(tools, answers):
        if "failed" not in answer:
            run_traps(tool, answer)
            forget_second_answers()
    lines = [
        f"\n{rows} conversations of the largest tenant among {conversations}; whole commands, each once, one tool after the "
        "other. The tools read a view as analytics views over Chatwoot are (`scripts/lib/peer_view.sql`: its sub-views aggregate all "
        "messages), by a cursor on `conversation_updated_at`; Tidemark's `view` mode reads the same view key by key. “nothing” and "
        "“changed” are a second sync and one after 1,000 rows changed, with `ANALYZE` after the change: without it the view's plan "
        "degenerates, and a tool that asks it did not come back within minutes. The traps ran on a sample of "
        f"{min(int(conversations), TRAPS_AT)}.\n",
        "| | full | nothing | 1,000 changed | " + " | ".join(TRAPS) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for tool, answer in zip(tools, answers):
        if "failed" in answer:
            lines.append(f"| {tool.name} | failed: {answer['failed']} |" + " |" * (len(columns) - 1))
        else:
            lines.append(f"| {tool.name} | " + " | ".join(answer[column] for column in columns) + " |")
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after)


main()
