# SPDX-License-Identifier: Apache-2.0
"""`transom policy` as a person or a pipeline runs it: files in, lines and a status out."""

import json
import os
import pty
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

END_S = 60
SCHEMA = "nova:servers: [id, name, tenant_id, status]\nneutron:ports: {id: text, device_id: text}\n"
RULES = """\
// Servers in error that nobody let be.
error(id) :- nova:servers(id=id, status="ERROR"), not calm(id)
calm(id) :- nova:servers(id=id, name="calm")
"""


class Suite:
    """A folder to write files into, and the command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "transom.cli", "policy", *words],
            cwd=self.folder, input=given, capture_output=True, text=True, check=False,
            timeout=END_S,
        )  # fmt: skip

    def case(self, name: str, facts: str, expected: str, settings: str = "") -> None:
        self.write(f"vms/cases/{name}/facts.yaml", facts)
        self.write(f"vms/cases/{name}/expected.dl", expected)
        if settings:
            self.write(f"vms/cases/{name}/case.yaml", settings)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    made = Suite(tmp_path)
    made.write("schema.yaml", SCHEMA)
    made.write("vms/policy.dl", RULES)
    made.case("error", "nova:servers: [{id: a, status: ERROR}]", 'error("a")\n')
    return made


# test


def test_cases_share_the_rules_of_their_policy_and_the_schema_above(suite: Suite) -> None:
    suite.case("calm", "nova:servers: [{id: a, status: ERROR, name: calm}]", "not error(_)\n")
    done = suite.run("test", ".")
    assert done.stdout.splitlines() == [
        "ok      vms/cases/calm", "ok      vms/cases/error", "2 cases, none failed",
    ]  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_case_that_fails_says_which_rows_are_missing_and_which_too_much(suite: Suite) -> None:
    suite.case("wrong", "nova:servers: [{id: a, status: ERROR}]", 'error("b")\nnot calm(_)\n')
    done = suite.run("test", "vms/cases/wrong", "vms")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "FAILED  vms/cases/wrong"
    rule = 'by error(id) :- nova:servers(id=id, status="ERROR"), not calm(id) (vms/policy.dl:2:1)'
    assert lines[1:5] == [
        '  missing     error("b")  (vms/cases/wrong/expected.dl:1:1)', f"    {rule}",
        '    with id = "b"', '    - nova:servers("b", _, _, "ERROR"): there is no such row',
    ]  # fmt: skip
    at = lines.index('  unexpected  error("a")  (vms/cases/wrong/expected.dl:1:1)')
    assert lines[at + 1 : at + 4] == [
        f"    {rule}", '    with id = "a"',
        '    - nova:servers(id="a", status="ERROR"): a row of a source, live',
    ]  # fmt: skip
    assert lines[-2:] == ["ok      vms/cases/error", "2 cases, 1 failed"]


def test_of_many_wrong_rows_some_are_shown_and_fewer_explained(suite: Suite) -> None:
    suite.write("many/rules.dl", "p(x) :- n:n(x)\n")
    suite.write("many/n:n.csv", "n\n" + "".join(f"{number}\n" for number in range(1000)))
    suite.write("many/more.dl", "".join(f"r({x}) :- n:n(-{x})\n" for x in range(1, 50)))
    suite.write("many/expected.dl", "not rules:p(_)\nmore:r(77)\n")
    lines = suite.run("test", "many").stdout.splitlines()
    assert len(lines) < 200
    assert "    ... and 68 lines more" in lines
    assert lines[-2:] == ["  unexpected  ... and 900 rows more", "1 case, 1 failed"]
    found = json.loads(suite.run("test", "many", "--json").stdout)
    assert len(found["cases"][0]["unexpected"]) == 1000
    assert sum(bool(row["reasons"]) for row in found["cases"][0]["unexpected"]) == 9


def test_a_case_that_cannot_be_run_fails_with_its_faults_and_others_run(suite: Suite) -> None:
    suite.case("broken", "nova:servers: [{id: a, stats: ERROR}]", 'error("a")\n')
    suite.case("typo", "nova:servers: []", 'eror("a")\n')
    suite.case("idle", "nova:servers: []", "// nothing\n")
    suite.case("late", "nova:servers: []", "not error(_)\n", "time: tomorrow\n")
    done = suite.run("test", ".")
    assert done.returncode == 1
    assert "  vms/cases/broken/facts.yaml:1: nova:servers has no column `stats`: did you mean" in (
        done.stdout
    )
    assert "nothing makes vms:eror" in done.stdout
    assert '  1 | eror("a")\n    | ^^^^^^^^^\n' in done.stdout
    assert "  vms/cases/idle/expected.dl: expects nothing; for an empty table write" in done.stdout
    assert "'tomorrow' is no time" in done.stdout
    assert done.stdout.endswith("5 cases, 4 failed\n")


def test_a_case_alone_may_have_rules_facts_as_csv_and_json_and_several_policies(
    suite: Suite,
) -> None:
    suite.write("alone/vms.dl", 'bad(x) :- nova:servers(id=x, up=false), ports:of(x, "7")\n')
    suite.write(
        "alone/other.dl", "worse(x) :- vms:bad(x)\nexecute[nova:servers.stop(x)] :- worse(x)"
    )
    suite.write("alone/nova:servers.csv", 'id,up\n"a",false\nb,true\n')
    suite.write("alone/ports:of.csv", "server,number:text\na,7\n")
    suite.write("alone/facts.json", '{"neutron:ports": []}')
    suite.write("alone/case.yaml", "policy: other\n")
    suite.write("alone/expected.dl", 'worse("a")\nvms:bad("a")\nexecute[nova:servers.stop("a")]\n')
    (suite.folder / "schema.yaml").unlink()
    done = suite.run("test", "alone")
    assert done.stdout.splitlines() == [
        "ok      alone",
        "  warning     alone/facts.json: neutron:ports: no rule reads neutron:ports",
        "1 case, none failed",
    ]


def test_the_time_of_a_case_is_set_and_missing_inputs_are_told(suite: Suite) -> None:
    suite.write("vms/late.dl", "now_is(t) :- now(t)\nold(x) :- cinder:volumes(x)\n")
    suite.write("vms/cases/timed/case.yaml", "time: 2026-01-31 12:00:00\n")
    suite.write("vms/cases/timed/expected.dl", 'late:now_is("2026-01-31 12:00:00")\n')
    suite.write("vms/cases/untimed/expected.dl", "not late:now_is(_)\nnot late:old(_)\n")
    done = suite.run("test", ".")
    assert "ok      vms/cases/timed\n" in done.stdout
    assert "  warning     nothing fills cinder:volumes; it counts as empty\n" in done.stdout
    assert "rules read the time, and nobody says it: say `time:` in case.yaml\n" in done.stdout


def test_a_builtin_that_fails_fails_a_case_that_does_not_expect_it(suite: Suite) -> None:
    suite.write("vms/policy.dl", RULES + "old(x) :- nova:servers(x, n, _, _), lt(n, 5)\n")
    suite.case("text", "nova:servers: [{id: a, name: b}]", "not old(_)\n")
    done = suite.run("test", "vms/cases/text")
    assert done.returncode == 1
    assert '  diagnostic  vms/policy.dl:4:37: lt(n, 5) failed for ("b", 5): ' in done.stdout
    suite.write("vms/cases/text/case.yaml", "diagnostics: ['lt(n, 5) failed']\n")
    assert suite.run("test", "vms/cases/text").returncode == 0
    suite.write("vms/cases/text/case.yaml", "diagnostics: [lt, other]\n")
    assert "  no diagnostic says  other\n" in suite.run("test", "vms/cases/text").stdout


def test_a_case_whose_rule_is_not_in_force_fails(suite: Suite) -> None:
    suite.write("vms/policy.dl", RULES + "old(x) :- cinder:volumes(id=x)\n")
    done = suite.run("test", ".")
    assert done.returncode == 1
    assert "hint: say them in schema.yaml" in done.stdout
    assert "4 | old(x) :- cinder:volumes(id=x)" in done.stdout


def test_coverage_names_rules_that_gave_no_row_and_literals_that_no_case_needs(
    suite: Suite,
) -> None:
    done = suite.run("test", ".", "--coverage")
    assert done.stdout.splitlines()[-4:] == [
        "coverage: 1 of 2 rules gave rows, 1 of 3 literals mattered",
        'vms/policy.dl:2:14: no case needs it: nova:servers(id=id, status="ERROR")',
        "vms/policy.dl:2:51: no case needs it: not calm(id)",
        'vms/policy.dl:3:1: gave no row in any case: calm(id) :- nova:servers(id=id, name="calm")',
    ]
    servers = (
        "[{id: a, status: ERROR, name: calm}, {id: b, status: ERROR}, {id: c, status: ACTIVE}]"
    )
    suite.case("all", f"nova:servers: {servers}", 'error("b")\ncalm("a")\n')
    done = suite.run("test", ".", "--coverage")
    assert done.stdout.splitlines()[-1] == (
        "coverage: 2 of 2 rules gave rows, 3 of 3 literals mattered"
    )


def test_results_are_told_to_programs(suite: Suite) -> None:
    suite.case("wrong", "nova:servers: [{id: a, status: ERROR}]", 'error("b")\n')
    suite.case("broken", "nova:servers: 7", "not error(_)\n")
    done = suite.run("test", ".", "--json", "--coverage")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["failed"] == 2
    broken, good, wrong = found["cases"]
    assert good["ok"] is True
    assert broken["faults"] == [
        "vms/cases/broken/facts.yaml: nova:servers: expected a list of rows"
    ]
    assert wrong["missing"][0]["table"] == "vms:error"
    assert wrong["unexpected"][0]["row"] == ["a"]
    assert found["coverage"]["rules"][0]["gave_rows"] is True


@pytest.mark.parametrize("path", ["vms/policy.dl", "empty", "nowhere"])
def test_a_folder_without_cases_is_no_success(suite: Suite, path: str) -> None:
    (suite.folder / "empty").mkdir()
    done = suite.run("test", path)
    assert done.returncode == 1
    assert "a case is a folder with expected.dl" in done.stderr


# Facts that are wrong


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nova:servers.csv", "id,name\na,b\nc\n", "nova:servers.csv:3: 1 cell for 2 columns: "),
        ("nova:servers.csv", 'id,name\n"a', "nova:servers.csv:2: a quote is not closed"),
        ("nova:servers.csv", "id\n\udce4\n", "nova:servers.csv:2: is not UTF-8; save "),
        ("facts.json", '{"nova:servers": [', "facts.json:1:19: "),
        ("facts.yaml", "nova:servers: [", "facts.yaml:2:1: "),
        ("facts.yaml", "nova:servers:\n\t- {id: a}\n", "facts.yaml:2:1: a tab; "),
        ("facts.yaml", "servers: []", "facts.yaml:1: 'servers' is no table"),
        ("facts.yaml", "nova:servers:\n- {id: a}\n- [b]\n", "facts.yaml:3: rows are all"),
        ("nova:sevrers.csv", "id\na\n", "nova:sevrers: did you mean `nova:servers`?"),
        ("facts.yml", "", "facts.yml: is not read; facts are in facts.yaml"),
        ("expected.dl", "not error(_", "expected.dl:1:"),
        ("case.yaml", "tme: x", "case.yaml: there is no setting `tme`: did you mean `time`?"),
        ("no-name!.dl", "p(1)", "no-name!.dl: the file's name is the policy's: 'no-name!' is no"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_told_with_its_place(
    suite: Suite, name: str, text: str, says: str
) -> None:
    path = suite.folder / "vms/cases/error" / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = suite.run("test", ".")
    assert says in done.stdout
    assert "Traceback" not in done.stderr


# lint and fmt


def test_lint_shows_line_and_caret_and_says_by_its_status(suite: Suite) -> None:
    good = suite.run("lint", "vms", "vms/policy.dl")
    assert (good.returncode, good.stdout) == (0, "")
    suite.write("vms/more.dl", "p(x) :- nova:sevrers(x)\nq(x) :- not calm(x)\n")
    bad = suite.run("lint", ".")
    assert bad.returncode == 1
    assert "error[unknown-table]: nova has no table `sevrers`\n --> vms/more.dl:1:9\n" in bad.stdout
    assert "1 | p(x) :- nova:sevrers(x)\n  |         ^^^^^^^^^^^^^^^\n" in bad.stdout
    assert "hint: did you mean `servers`?" in bad.stdout
    assert "vms/more.dl:2:" in bad.stdout
    first, *_ = json.loads(suite.run("lint", "vms/more.dl", "--json").stdout)
    assert (first["file"], first["line"], first["column"]) == ("vms/more.dl", 1, 9)
    assert (first["severity"], first["code"]) == ("error", "unknown-table")


def test_what_is_doubtful_is_a_warning_and_in_strict_mode_an_error(suite: Suite) -> None:
    suite.write("vms/more.dl", "p(True) :- nova:servers(id=True)\n")
    assert suite.run("lint", "vms/more.dl").returncode == 0
    strict = suite.run("lint", "vms/more.dl", "--strict")
    assert strict.returncode == 1
    assert "error[bare-constant]" in strict.stdout


def test_fmt_writes_the_one_spelling_and_keeps_comments_and_mode(suite: Suite) -> None:
    path = suite.write("a.dl", "// why\np( x ):-q(x),   not r(x).  # and\n\n\ne(1);e(2)\n")
    path.chmod(0o640)
    link = suite.folder / "link.dl"
    link.symlink_to("a.dl")
    check = suite.run("fmt", "--check", "a.dl", "vms")
    assert (check.returncode, check.stdout) == (1, "a.dl\n")
    done = suite.run("fmt", "link.dl")
    assert (done.returncode, done.stdout) == (0, "link.dl\n")
    assert path.read_text() == "// why\np(x) :- q(x), not r(x)  # and\n\ne(1)\ne(2)\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(one.name for one in suite.folder.iterdir()) == [
        "a.dl", "link.dl", "schema.yaml", "vms",
    ]  # fmt: skip
    again = suite.run("fmt", "--check", "a.dl")
    assert (again.returncode, again.stdout) == (0, "")


def test_fmt_leaves_what_it_cannot_read_and_goes_on(suite: Suite) -> None:
    bad = suite.write("a.dl", "p(x :- q(x)\n")
    good = suite.write("b.dl", "p(x):-q(x)\n")
    done = suite.run("fmt", "a.dl", "b.dl")
    assert done.returncode == 1
    assert " --> a.dl:1:5" in done.stderr
    assert (bad.read_text(), good.read_text()) == ("p(x :- q(x)\n", "p(x) :- q(x)\n")


@pytest.mark.parametrize("verb", ["lint", "fmt"])
def test_a_folder_without_rules_is_told(suite: Suite, verb: str) -> None:
    (suite.folder / "empty").mkdir()
    done = suite.run(verb, "vms", "empty")
    assert done.returncode == 1
    assert "empty: no rules (*.dl) in it" in done.stderr
    assert "nowhere.dl: No such file" in suite.run(verb, "nowhere.dl").stderr


def test_what_is_no_text_is_told(suite: Suite) -> None:
    (suite.folder / "vms/bytes.dl").write_bytes(b"p(1)\n\xff\n")
    done = suite.run("lint", "vms")
    assert (done.returncode, "vms/bytes.dl:2: is not UTF-8" in done.stderr) == (1, True)
    words = [sys.executable, "-m", "transom.cli", "policy", "fmt", "-"]
    piped = subprocess.run(words, input=b"\xff", capture_output=True, check=False, timeout=END_S)
    assert (piped.returncode, piped.stdout) == (1, b"")
    assert b"standard input:1: is not UTF-8" in piped.stderr
    words[-2:] = ["repl"]
    piped = subprocess.run(words, input=b"\xff\np(1)\np(x)?", capture_output=True, check=False)
    assert piped.returncode == 1
    assert piped.stdout.endswith(b"p(1)\n(1 row)\n")


def test_fmt_takes_of_a_folder_only_what_is_a_file(suite: Suite) -> None:
    suite.write("more/a.dl", "p(x):-q(x)\n")
    (suite.folder / "more" / "b.dl").mkdir()
    (suite.folder / "more" / "c.dl").symlink_to("nowhere")
    os.mkfifo(suite.folder / "more" / "d.dl")
    done = suite.run("fmt", "more")
    assert (done.returncode, done.stdout, done.stderr) == (0, "more/a.dl\n", "")


def test_fmt_takes_a_pipe(suite: Suite) -> None:
    assert suite.run("fmt", "-", given="p(x):-q(x)").stdout == "p(x) :- q(x)\n"
    check = suite.run("fmt", "-", "--check", given="p(x):-q(x)")
    assert (check.returncode, check.stdout) == (1, "<standard input>\n")
    broken = suite.run("fmt", "-", given="p(")
    assert (broken.returncode, broken.stdout) == (1, "")


# repl


def test_a_session_from_a_pipe_answers_line_by_line(suite: Suite) -> None:
    given = """\
        nova:servers("a", "one", "t", "ERROR")
        error(x)?
        warned(x) :-
          error(x),
          not quiet(x)
        quiet("a")
        error(x), not quiet(x)?
        not error("b")?
        nova:servers(id=x, status=s)?
        :drop quiet("a")
        :tables
        :rules
    """
    done = suite.run("repl", "vms", given=textwrap.dedent(given))
    assert done.stdout.splitlines() == [
        "policy vms",
        '+ error("a")',
        'error("a")',
        "(1 row)",
        '+ warned("a")',
        '- warned("a")',
        "(no rows)",
        "yes",
        'nova:servers("a", "one", "t", "ERROR")',
        "(1 row)",
        '+ warned("a")',
        "neutron:ports(id, device_id)  no rows, live",
        "nova:servers(id, name, tenant_id, status)  1 row, live",
        "vms:calm  no rows, live",
        "vms:error  1 row, live",
        "vms:quiet  no rows, live",
        "vms:warned  1 row, live",
        'error(id) :- nova:servers(id=id, status="ERROR"), not calm(id)',
        'calm(id) :- nova:servers(id=id, name="calm")',
        "warned(x) :- error(x), not quiet(x)",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_line_changes_nothing_and_is_told_with_its_number(suite: Suite) -> None:
    given = "p(1)\np(x :- q(x)\n:policy 7\n:lod x\n:load nowhere.dl\n:explain\np(x)?\n"
    done = suite.run("repl", given=given)
    assert done.returncode == 1
    assert " --> input:2:5\n" in done.stdout
    assert "a policy cannot be called so: '7' is no name" in done.stdout
    assert "there is no command `:lod`: did you mean `load`?" in done.stdout
    assert "nowhere.dl" in done.stdout
    assert "write :explain ATOM" in done.stdout
    assert done.stdout.endswith("p(1)\n(1 row)\n")


def test_a_word_of_leaving_and_a_sign_are_no_facts(suite: Suite) -> None:
    done = suite.run("repl", given="exit\nhelp\nnova:servers-(1)\np+(1)\nexit()\nexit?\n:tables\n")
    assert "write `:quit`; `exit()` is a fact" in done.stdout
    assert "write `:help`; `help()` is a fact" in done.stdout
    assert done.stdout.count("a row comes without it, and goes with :drop") == 2
    assert (done.returncode, "nova:" in done.stdout) == (1, False)
    assert done.stdout.endswith("exit\n(1 row)\nscratch:exit  1 row, live\n")


def test_a_question_about_a_table_that_nothing_makes_says_which_was_meant(suite: Suite) -> None:
    done = suite.run("repl", "vms", given="eror(x)?\n")
    assert done.stdout.endswith(
        "nothing makes vms:eror; it counts as empty; did you mean `error`?)\n"
    )
    done = suite.run("simulate", "vms", "--query", "eror(x)")
    assert "nothing makes vms:eror; it counts as empty; did you mean `error`?" in done.stderr


def test_lint_says_where_columns_are_said(suite: Suite) -> None:
    (suite.folder / "alone.dl").write_text("p(x) :- other:servers(id=x)\n")
    assert "hint: say them in schema.yaml" in suite.run("lint", "alone.dl").stdout


def test_a_file_that_is_loaded_again_takes_the_place_of_what_it_was(suite: Suite) -> None:
    session = subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "policy", "repl", "vms/cases/error"],
        cwd=suite.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write("error(x)?\n")
    session.stdin.flush()
    lines = [session.stdout.readline() for _ in range(5)]
    assert lines == [
        "1 row of nova:servers\n", "policy vms\n", '+ error("a")\n', 'error("a")\n', "(1 row)\n",
    ]  # fmt: skip
    suite.write("vms/policy.dl", RULES.replace("ERROR", "ACTIVE"))
    told, _ = session.communicate(":load vms/policy.dl\nerror(x)?\n:quit\n", timeout=END_S)
    assert told.splitlines() == ['- error("a")', "(no rows)"]
    assert session.returncode == 0


def test_a_session_loads_a_schema_and_paths_in_quotes(suite: Suite) -> None:
    suite.write("two words/rules.dl", "p(x) :- nova:servers(id=x)\n")
    given = (
        ":load schema.yaml\n:load 'two words/rules.dl'\n:load 'two\n"
        'nova:servers("a", "", "", "")\n'
    )
    lines = suite.run("repl", given=given).stdout.splitlines()
    assert lines == ["policy rules", "'two: No closing quotation", '+ p("a")']


def test_time_moves_rules_and_incomplete_answers_say_so(suite: Suite) -> None:
    given = (
        'late(x) :- due(x, t), now(n), datetime_lt(t, n)\ndue("a", "2026-01-01 00:00:00")\n'
        ":time 2025-12-31 00:00:00\n:time 2026-01-02 00:00:00\ncinder:volumes(x)?\n"
    )
    done = suite.run("repl", given=given)
    assert done.stdout.splitlines()[-5:] == [
        '+ late("a")', '- late("a")', '+ late("a")', "(no rows)",
        "(nothing fills cinder:volumes; it counts as empty)",
    ]  # fmt: skip


class Terminal:
    """A terminal with the command at it."""

    def __init__(self, suite: Suite, *words: str) -> None:
        self.process, self._side = pty.fork()
        if not self.process:
            os.chdir(suite.folder)
            os.environ.update(TERM="xterm", XDG_STATE_HOME=str(suite.folder / "state"))
            os.execv(sys.executable, [sys.executable, "-m", "transom.cli", "policy", *words])
        self.text = ""
        self._seen = 0

    def until(self, wanted: str, again: str = "") -> None:
        """Waits till it is shown, behind what was waited for before.

        `again`: keys that are typed after each quiet second: Python misses a Ctrl-C that comes
        after the prompt is shown and before it waits for keys, or between a line and its work.
        """
        deadline_s = time.monotonic() + END_S
        while wanted not in self.text[self._seen :]:
            left_s = deadline_s - time.monotonic()
            wait_s = min(left_s, 1) if again else left_s
            ready, _, _ = select.select([self._side], [], [], max(wait_s, 0))
            if not ready and again and left_s > 0:
                self.type(again)
                continue
            assert ready, f"no {wanted!r} in {self.text}"
            try:
                part = os.read(self._side, 4096)
            except OSError:
                part = b""
            assert part, f"no {wanted!r} in {self.text}"
            self.text += part.decode().replace("\r\n", "\n")
        self._seen = self.text.index(wanted, self._seen) + len(wanted)

    def type(self, keys: str) -> None:
        os.write(self._side, keys.encode())

    def end(self) -> int:
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        os.close(self._side)
        return status


def test_at_a_terminal_keys_do_what_they_do_elsewhere(suite: Suite) -> None:
    suite.write("n:n.csv", "n\n" + "".join(f"{number}\n" for number in range(2000)))
    terminal = Terminal(suite, "repl", "vms")
    terminal.until("vms> ")
    terminal.type('nova:servers("a",\n')
    terminal.until("... ")
    terminal.until("(the line is dropped)\nvms> ", again="\x03")
    terminal.type('nova:ser\t("b", "n", "t", "ERROR")\n')
    terminal.until('+ error("b")')
    terminal.until("vms> ")
    terminal.type("p(\n")
    terminal.until("vms> ")
    terminal.type("x")
    terminal.until("x")
    terminal.until("\nvms> ", again="\x03")
    terminal.type(":load n:n.csv\n")
    terminal.until("2000 rows of n:n")
    terminal.until("vms> ")
    terminal.type("all(x, y, z) :- n:n(x), n:n(y), n:n(z)\n")
    terminal.until("n:n(z)\n")
    terminal.until("(interrupted, and nothing was changed)\nvms> ", again="\x03")
    terminal.type(":rules\n")
    terminal.until('calm(id) :- nova:servers(id=id, name="calm")\nvms> ')
    terminal.type("\x04")
    assert terminal.end() == 0
    history = suite.folder / "state/transom/policy_history"
    assert 'nova:servers("b", "n", "t", "ERROR")' in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_a_session_explains_and_simulates_and_stays_as_it_was(suite: Suite) -> None:
    given = (
        ":explain error(_)\n"
        ':why-not error("b")\n'
        ':simulate nova:servers+("z", "n", "t", "ERROR") calm+("a") ? error(x)\n'
        ":simulate error(x)\n"
        "error(x)?\n"
    )
    done = suite.run("repl", "vms/cases/error", given=given)
    lines = done.stdout.splitlines()
    assert '  - nova:servers(id="a", status="ERROR"): a row of a source, live' in lines
    assert '  - nova:servers("b", _, _, "ERROR"): there is no such row' in lines
    at = lines.index('error("z")')
    assert lines[at:] == [
        'error("z")', "(1 row)", "would come and go:", '  + calm("a")', '  - error("a")',
        '  + error("z")', "write the steps, `?`, and what is asked then: q+(1) ? p(x)",
        'error("a")', "(1 row)",
    ]  # fmt: skip


# explain and simulate


def test_explain_says_why_as_text_and_to_programs(suite: Suite) -> None:
    done = suite.run("explain", "vms/cases/error", "error(_)")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        'error("a")',
        '  by error(id) :- nova:servers(id=id, status="ERROR"), not calm(id) (vms/policy.dl:2:1)',
        '  with id = "a"',
        '  - nova:servers(id="a", status="ERROR"): a row of a source, live',
        '  - not calm("a"): there is no such row',
    ]
    tree = json.loads(suite.run("explain", "vms/cases/error", 'error("a")', "--json").stdout)
    assert (tree["table"], tree["row"]) == ("vms:error", ["a"])


def test_of_a_row_that_is_not_there_it_says_why_not_and_status_1(suite: Suite) -> None:
    suite.write("vms/cases/error/calm.dl", 'also("a")\n')
    done = suite.run("explain", "vms/cases/error", 'calm("a")')
    assert done.returncode == 1
    assert done.stdout.startswith('there is no calm("a")\n  by calm(id) :- ')
    told = json.loads(suite.run("explain", "vms/cases/error", 'calm("a")', "--json").stdout)
    assert told["why_not"][0] == 'there is no calm("a")'
    typo = suite.run("explain", "vms/cases/error", 'clam("a")').stdout
    assert "nothing makes vms:clam; did you mean `calm`?" in typo


def test_all_ways_are_told_if_asked_for(suite: Suite) -> None:
    suite.write("two.dl", "p(1) :- q(x)\nq(1)\nq(2)\n")
    one = suite.run("explain", "two.dl", "p(1)")
    both = suite.run("explain", "two.dl", "p(1)", "--all")
    assert one.stdout.startswith("p(1): 1 of 2 ways:\n")
    assert one.stdout.count("by p(1) :- q(x)") == 1
    assert both.stdout.count("by p(1) :- q(x)") == 2


def test_of_several_policies_an_atom_says_which(suite: Suite) -> None:
    suite.write("a.dl", "p(1)\n")
    suite.write("b.dl", "p(2)\n")
    done = suite.run("explain", "a.dl", "b.dl", "p(_)")
    assert done.returncode == 1
    assert "say whose table it is, as in `policy:p(_)`; policies are a, b" in done.stderr
    assert suite.run("explain", "a.dl", "b.dl", "b:p(_)").stdout.startswith("p(2): a fact")
    chosen = suite.run("explain", "a.dl", "b.dl", "p(_)", "--policy", "a")
    assert chosen.stdout.startswith("p(1): a fact")
    assert "--policy" in suite.run("simulate", "a.dl", "b.dl", "--query", "p(x)").stderr


ACTIONS = """\
action("fail")
nova:servers+(id, n, t, "ERROR") :- fail(id), nova:servers(id, n, t, s)
nova:servers-(id, n, t, s) :- fail(id), nova:servers(id, n, t, s)
"""


def test_simulate_answers_and_says_what_would_change_and_be_done(suite: Suite) -> None:
    suite.write("nova:servers.csv", "id,status\na,ERROR\nb,ACTIVE\n")
    suite.write("actions.dl", ACTIONS)
    suite.write("stop.dl", "execute[nova:servers.stop(x)] :- vms:error(x)\n")
    suite.write("steps.dl", '// first\nfail("b")\ncalm+("a")\n')
    words = [
        "simulate", "vms/policy.dl", "nova:servers.csv", "--query", "error(x)", "--actions",
        "actions.dl", "--add", "stop.dl", "--sequence", "@steps.dl",
    ]  # fmt: skip
    done = suite.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        'error("b")', "(1 row)", "would come and go:", '  + calm("a")', '  - error("a")',
        '  + error("b")', "would be executed:", '  execute[nova:servers.stop("b")]',
    ]  # fmt: skip
    delta = suite.run(*words, "--delta").stdout.splitlines()
    assert delta[:3] == ['error+("b")', 'error-("a")', "(2 rows)"]
    traced = suite.run(*words, "--trace").stdout.splitlines()
    assert '1. fail("b")' in traced
    assert '   + error("b")' in traced
    told = json.loads(suite.run(*words, "--json").stdout)
    assert told["answer"] == ['error("b")']
    assert told["changes"]["vms:error"] == {"came": [["b"]], "went": [["a"]]}
    assert told["actions"] == [{"table": "stop:execute[nova:servers.stop]", "row": ["b"]}]
    assert told["complete"] is True
    again = suite.run(*words[:-1], "@-", given='fail("b")')
    assert again.stdout.splitlines()[:2] == ['error("a")', 'error("b")']


def test_a_sequence_that_is_wrong_is_shown(suite: Suite) -> None:
    words = ["simulate", "vms", "--query", "error(x)", "--sequence"]
    done = suite.run(*words, "calm+(")
    assert done.returncode == 1
    assert " --> sequence:1:7\n" in done.stderr
    assert "no policy of actions is given" in suite.run(*words, 'fail("a")').stderr
    assert "nowhere.dl: No such file" in suite.run(*words, "@nowhere.dl").stderr


# All


@pytest.mark.parametrize("verb", ["test", "lint", "fmt", "explain", "simulate", "repl"])
def test_help_shows_an_example(suite: Suite, verb: str) -> None:
    done = suite.run(verb, "--help")
    assert done.returncode == 0
    assert f"example: transom policy {verb} " in done.stdout


# library


def test_policies_of_the_library_are_listed_printed_and_copied(suite: Suite) -> None:
    listed = suite.run("library")
    assert listed.returncode == 0
    assert "stuck_servers" in listed.stdout
    assert "error(" in suite.run("library", "stuck_servers").stdout
    copied = suite.run("library", "stuck_servers", "orphans", "--to", "mine")
    assert (copied.returncode, copied.stderr) == (0, "")
    assert suite.run("test", "mine").returncode == 0
    again = suite.run("library", "orphans", "untrusted_images", "--to", "mine")
    assert again.returncode == 1
    assert "mine/orphans is there already" in again.stderr
    assert not (suite.folder / "mine" / "untrusted_images").exists()
    own = suite.write("mine/schema.yaml", "nova:servers: [id]\n").read_text()
    assert suite.run("library", "untrusted_images", "--to", "mine").returncode == 0
    assert (suite.folder / "mine" / "schema.yaml").read_text() == own
    missing = suite.run("library", "orphan")
    assert missing.returncode == 1
    assert "did you mean `orphans`?" in missing.stderr
