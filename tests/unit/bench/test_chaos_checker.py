"""The checker of chaos runs finds each kind of broken promise, and finds nothing in a sound history."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chaos.checker import LATE, LEFT, LOST, OTHER, WRONG, Change, Damage, EndedRow, Evidence, Pause, check
from chaos.history import Operation, operations

ASK, FAILS = "S1:1:0:quick:20", "S2:2:0:failing:20"
GRACE_S = 15.0


def get(number=1, *, who="trainer01.0", ask=ASK, digest="d1", error=None, took_s=0.5, began=10.0, **changes):
    outcome = "fail" if error else "ok"
    made = Operation(
        f"{who}:{number}", who, "get", (ask,), 20.0, began, outcome, began + took_s, took_s,
        (None if error else digest,), (error,),
    )  # fmt: skip
    return replace(made, **changes)


def begun(number=1, *, who="trainer01.0"):
    return Operation(f"{who}:{number}", who, "get", (ASK,), 20.0, 10.0)


def change(
    state,
    *,
    was=None,
    at=10.0,
    key="k1",
    path="entries/k1.a",
    content="c1",
    created_at=10.0,
    hidden_at=None,
    withdrawn=False,
):
    return Change(at, key, path, "S1", was, state, withdrawn, content, created_at, hidden_at)


def row(*, state="live", found="c1"):
    return EndedRow("k1", "entries/k1.a", state, "c1", found)


def evidence(**parts):
    sound = {
        "operations": [get()], "direct": {ASK: "d1", FAILS: None}, "changes": [change("live")],
        "rows": [row()], "grace_s": GRACE_S,
    }  # fmt: skip
    return Evidence(**{**sound, **parts})


def kinds(found):
    return [violation.kind for violation in found]


def test_a_sound_history_is_sound():
    """Hits, shared failures, honest errors and a policy that gives up old entries are no findings."""
    history = [
        get(1),
        get(2, error="ComputeTimeout", took_s=20.9),
        get(3, ask=FAILS, error="ComputeFailed"),
        begun(4, who="trainer02.0"),
    ]
    changes = [
        change("live"),
        change("condemned", was="live", at=90, hidden_at=90),
        change(None, was="condemned", at=110, hidden_at=90),
    ]

    assert check(evidence(operations=history, changes=changes, rows=[], killed=frozenset({"trainer02.0"}))) == ()


def test_a_busy_machine_is_told_of_and_excuses_nothing():
    """What is late for another reason was told nothing of a core either."""
    (found,) = check(evidence(operations=[get(took_s=24.5, waited_s=6.0)]))
    assert found.kind == LATE
    assert "waited 6.00 s for a core" in found.what


def test_a_wrong_answer_is_found():
    """One answer that differs from the direct call is enough."""
    assert kinds(check(evidence(operations=[get(), get(2, digest="d2")]))) == [WRONG]


def test_an_answer_where_only_failure_is_possible_is_wrong():
    """A feature that always raises has no result."""
    assert kinds(check(evidence(operations=[get(ask=FAILS, digest="d1")]))) == [WRONG]


def test_two_contents_of_one_key_are_found():
    """A key computed anew after it was given up must come out the same."""
    again = change("live", was="condemned", at=20, path="entries/k1.b", content="c2")

    found = check(evidence(changes=[change("live"), again], rows=[]))

    assert WRONG in kinds(found)


def test_a_result_alone_is_written_otherwise_than_one_among_others():
    """Two forms of one key are no two contents; two contents of one form are, in a shared file too."""
    packed = change("live", was="condemned", at=20, path="entries/packs/1/12.pack/k1.12-0.parquet", content="c2")
    again = change("live", was="condemned", at=30, path="entries/packs/3/34.pack/k1.34-1.parquet", content="c3")

    assert WRONG not in kinds(check(evidence(changes=[change("live"), packed], rows=[])))
    assert WRONG in kinds(check(evidence(changes=[change("live"), packed, again], rows=[])))


def test_a_late_call_is_found():
    """More than a second past the deadline is late, with whatever outcome."""
    assert kinds(check(evidence(operations=[get(took_s=21.2)]))) == [LATE]
    assert kinds(check(evidence(operations=[get(took_s=21.2, error="ComputeTimeout")]))) == [LATE]


def test_a_call_of_a_frozen_trainer_is_not_late():
    """Nobody keeps a deadline while standing still; being frozen at another time is no excuse."""
    late = [get(began=10.0, took_s=30)]

    assert check(evidence(operations=late, pauses=[Pause("trainer01.0", 15, 28)])) == ()
    assert kinds(check(evidence(operations=late, pauses=[Pause("trainer01.0", 45, 50)]))) == [LATE]
    assert kinds(check(evidence(operations=late, pauses=[Pause("trainer01.1", 15, 28)]))) == [LATE]


def test_a_call_that_never_ends_is_found():
    """Only a killed process leaves a call open."""
    assert kinds(check(evidence(operations=[begun()]))) == [LATE]


def test_an_undocumented_error_is_found():
    """A bare driver error, or a failure of a feature that never fails, is no honest answer."""
    assert kinds(check(evidence(operations=[get(error="!OperationalError")]))) == [OTHER]
    assert kinds(check(evidence(operations=[get(error="ComputeFailed")]))) == [OTHER]


def test_the_last_questions_have_no_excuse():
    """When all is whole again a request is answered."""
    assert kinds(check(evidence(operations=[get(who="closing", error="ComputeTimeout")]))) == [OTHER]


def test_a_question_without_answer_is_found():
    """A call for many that ends well has a frame or an error for each."""
    assert kinds(check(evidence(operations=[get(digest=None)]))) == [OTHER]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([change("quarantined", was="live", at=20, hidden_at=20)], id="quarantined undamaged"),
        pytest.param([change("condemned", was="live", at=20, hidden_at=20, withdrawn=True)], id="withdrawn by nobody"),
        pytest.param([change("condemned", was="live", at=20, hidden_at=20)], id="condemned young"),
        pytest.param([change(None, was="live", at=90)], id="deleted while live"),
        pytest.param(
            [
                change("condemned", was="live", at=60, hidden_at=60),
                change(None, was="condemned", at=70, hidden_at=60),
            ],
            id="deleted within the grace",
        ),
    ],
)
def test_an_entry_given_up_without_reason_is_lost(changes):
    """Every entry that goes needs a reason that the history knows."""
    assert kinds(check(evidence(changes=[change("live"), *changes], rows=[]))) == [LOST]


def test_an_entry_given_up_with_reason_is_not_lost():
    """Damage explains a quarantine, an invalidation a withdrawal."""
    hidden = [change("live"), change("quarantined", was="live", at=20, hidden_at=20)]
    withdrawn = [change("live"), change("condemned", was="live", at=20, hidden_at=20, withdrawn=True)]
    invalidation = get(what="invalidate", began=19.9, took_s=0.2, digests=(), errors=())

    assert check(evidence(changes=hidden, rows=[], damages=[Damage(19.0, "entries/k1.a")])) == ()
    assert check(evidence(changes=withdrawn, rows=[], operations=[invalidation])) == ()


def test_a_row_that_vanished_is_lost():
    """What the last commit left live is there at the end."""
    assert kinds(check(evidence(rows=[]))) == [LOST]


def test_a_row_without_its_file_is_lost():
    """A live row names the bytes that were written, unless they were damaged on purpose."""
    assert kinds(check(evidence(rows=[row(found=None)]))) == [LOST]
    assert kinds(check(evidence(rows=[row(found="c9")]))) == [LOST]
    assert check(evidence(rows=[row(found="c9")], damages=[Damage(11.0, "entries/k1.a")])) == ()


def test_an_entry_that_was_shown_but_never_committed_is_lost():
    """Nobody is shown what a crash of Postgres takes back."""
    shown = get(what="peek", digests=(), errors=(), seen=("k1", "entries/k1.z"))

    assert kinds(check(evidence(operations=[shown]))) == [LOST]


def test_what_remains_is_found():
    """Processes, locks, jobs and files that are left, and processes that ended by themselves, are named."""
    found = check(evidence(leftovers=["lock fstore:dedup:x"], faults_of_processes=["worker1.0 ended by itself"]))

    assert kinds(found) == [LEFT, OTHER]


def test_operations_are_put_together_from_their_records():
    """A start with its end is an operation; one without is unknown."""
    start = {"at": 1.0, "who": "t", "phase": "start", "op": "t:1", "what": "get", "asks": [ASK], "deadline_s": 20.0}
    end = {"at": 2.0, "who": "t", "phase": "ok", "op": "t:1", "took_s": 1.0, "digests": ["d1"], "errors": [None]}

    (whole,), (open_one,) = operations([start, end]), operations([start])

    assert (whole.outcome, whole.ended, whole.digests) == ("ok", 2.0, ("d1",))
    assert (open_one.outcome, open_one.ended) == ("unknown", None)
