# SPDX-License-Identifier: Apache-2.0
"""Claims: taking, renewing, releasing, deleting under them, dead letters."""

from compat.zaqar.walk import Scenario, Walk

CLAIMS = "/v2/queues/q/claims"
MESSAGES = "/v2/queues/q/messages"
NOWHERE = "1e1e1e1e-1e1e-4e1e-8e1e-1e1e1e1e1e1e"


def takes(it: Walk) -> None:
    it.ask("a missing queue", "POST", CLAIMS, {"ttl": 60, "grace": 60})
    it.ask("which is not made by it", "GET", "/v2/queues")
    it.quiet("PUT", "/v2/queues/q")
    it.ask("an empty queue", "POST", CLAIMS, {"ttl": 60, "grace": 60})
    for value in (60, 59, 0, -1, 43_200, 43_201, "60", 60.5, True, None, []):
        it.ask(f"ttl {value!r}", "POST", CLAIMS, {"ttl": value, "grace": 60})
        it.ask(f"grace {value!r}", "POST", CLAIMS, {"ttl": 60, "grace": value})
    it.post("q", *range(25))
    for value in ("0", "-1", "21", "x", "1.5"):
        it.ask(f"limit {value}", "POST", f"{CLAIMS}?limit={value}", {"ttl": 60, "grace": 60})
    it.ask("no body", "POST", f"{CLAIMS}?limit=1")
    it.ask("an empty body", "POST", f"{CLAIMS}?limit=1", {})
    it.ask("only ttl", "POST", f"{CLAIMS}?limit=1", {"ttl": 60})
    it.ask("only grace", "POST", f"{CLAIMS}?limit=1", {"grace": 60})
    it.ask("unknown fields", "POST", f"{CLAIMS}?limit=1", {"ttl": 60, "grace": 60, "x": 1})
    it.ask("limit in the body", "POST", CLAIMS, {"ttl": 60, "grace": 60, "limit": 1})
    it.ask("the rest", "POST", f"{CLAIMS}?limit=20", {"ttl": 60, "grace": 60})
    it.ask("nothing is left", "POST", f"{CLAIMS}?limit=20", {"ttl": 60, "grace": 60})


def extends_lives(it: Walk) -> None:
    it.quiet(
        "POST",
        MESSAGES,
        {"messages": [{"body": "short", "ttl": 60}, {"body": "long", "ttl": 3600}]},
    )
    it.ask("claim", "POST", CLAIMS, {"ttl": 200, "grace": 100})
    it.ask("they live as long", "GET", f"{MESSAGES}?echo=true&include_claimed=true&marker=")


def shows(it: Walk) -> None:
    it.post("q", *range(3))
    claim, _ = it.claim("q", 2)
    it.ask("one", "GET", f"{CLAIMS}/{claim}")
    it.ask("in capitals", "GET", f"{CLAIMS}/{claim.upper()}")
    it.ask("nowhere", "GET", f"{CLAIMS}/{NOWHERE}")
    it.ask("no id", "GET", f"{CLAIMS}/x")
    it.ask("of another queue", "GET", f"/v2/queues/other/claims/{claim}")
    it.ask("abroad", "GET", f"{CLAIMS}/{claim}", project="abroad")


def renews(it: Walk) -> None:
    it.post("q", *range(3))
    claim, _ = it.claim("q", 2, ttl=100)
    one = f"{CLAIMS}/{claim}"
    it.ask("renew", "PATCH", one, {"ttl": 200, "grace": 60})
    it.ask("its ttl", "GET", one)
    it.ask("without ttl", "PATCH", one, {"grace": 60})
    it.ask("has the default", "GET", one)
    it.ask("an empty object", "PATCH", one, {})
    it.ask("no body", "PATCH", one)
    for value in (59, 43_201, "60", None, True):
        it.ask(f"ttl {value!r}", "PATCH", one, {"ttl": value, "grace": 60})
    for value in (59, 43_201, -1, "60"):
        it.ask(f"grace {value!r}", "PATCH", one, {"ttl": 100, "grace": value})
    it.ask("a list", "PATCH", one, [])
    it.ask("nowhere", "PATCH", f"{CLAIMS}/{NOWHERE}", {"ttl": 100, "grace": 60})
    it.ask("no id", "PATCH", f"{CLAIMS}/x", {"ttl": 100, "grace": 60})
    it.ask("abroad", "PATCH", one, {"ttl": 100, "grace": 60}, project="abroad")
    it.ask(
        "of another queue", "PATCH", f"/v2/queues/other/claims/{claim}", {"ttl": 100, "grace": 60}
    )
    it.quiet("DELETE", one)
    it.ask("released", "PATCH", one, {"ttl": 100, "grace": 60})


def releases(it: Walk) -> None:
    it.post("q", *range(3))
    claim, _ = it.claim("q", 2)
    it.ask("nowhere", "DELETE", f"{CLAIMS}/{NOWHERE}")
    it.ask("no id", "DELETE", f"{CLAIMS}/x")
    it.ask("of another queue", "DELETE", f"/v2/queues/other/claims/{claim}")
    it.ask("abroad", "DELETE", f"{CLAIMS}/{claim}", project="abroad")
    it.ask("it holds on", "GET", f"{MESSAGES}?echo=true")
    it.ask("release", "DELETE", f"{CLAIMS}/{claim}")
    it.ask("release again", "DELETE", f"{CLAIMS}/{claim}")
    it.ask("it is gone", "GET", f"{CLAIMS}/{claim}")
    it.ask("free, in order", "GET", f"{MESSAGES}?echo=true")
    it.ask("taken again", "POST", CLAIMS, {"ttl": 100, "grace": 60})


def takes_only_what_is_free(it: Walk) -> None:
    it.post("q", *range(6))
    first, _ = it.claim("q", 2)
    it.claim("q", 2)
    it.quiet("DELETE", f"{CLAIMS}/{first}")
    it.ask("a third claim", "POST", CLAIMS, {"ttl": 100, "grace": 60})


def races(it: Walk) -> None:
    """Deleting one message, in each of the states that it can be in."""
    free = it.post("q", *range(12))
    claim, held = it.claim("q", 5)
    other, theirs = it.claim("q", 2)
    one = f"{MESSAGES}/{{}}"
    it.ask("claimed, without a claim", "DELETE", one.format(held[0]))
    it.ask("claimed, by another claim", "DELETE", f"{one.format(held[0])}?claim_id={other}")
    it.ask(
        "claimed, by no claim that is there", "DELETE", f"{one.format(held[0])}?claim_id={NOWHERE}"
    )
    it.ask("claimed, by what is no id", "DELETE", f"{one.format(held[0])}?claim_id=x")
    it.ask("claimed, by a blank", "DELETE", f"{one.format(held[0])}?claim_id=")
    it.ask("by its claim", "DELETE", f"{one.format(held[0])}?claim_id={claim}")
    it.ask("by its claim again", "DELETE", f"{one.format(held[0])}?claim_id={claim}")
    it.ask("gone, without a claim", "DELETE", one.format(held[0]))
    it.ask("free, without a claim", "DELETE", one.format(free[11]))
    it.ask("free, by a live claim", "DELETE", f"{one.format(free[10])}?claim_id={claim}")
    it.ask(
        "free, by no claim that is there", "DELETE", f"{one.format(free[10])}?claim_id={NOWHERE}"
    )
    it.ask("free, by what is no id", "DELETE", f"{one.format(free[10])}?claim_id=x")
    it.ask("many, claimed", "DELETE", f"{MESSAGES}?ids={theirs[0]}")
    it.ask("many, by their claim", "DELETE", f"{MESSAGES}?ids={theirs[1]}&claim_ids={other}")
    it.quiet("DELETE", f"{CLAIMS}/{claim}")
    it.ask("released, by the old claim", "DELETE", f"{one.format(held[2])}?claim_id={claim}")
    it.ask("it is still there", "GET", one.format(held[2]))
    again, _ = it.claim("q", 1)
    it.ask("held again, by the old claim", "DELETE", f"{one.format(held[2])}?claim_id={claim}")
    it.ask("held again, by the new one", "DELETE", f"{one.format(held[2])}?claim_id={again}")


def a_claim_in_capitals(it: Walk) -> None:
    it.post("q", 1)
    claim, held = it.claim("q", 1)
    it.ask("delete", "DELETE", f"{MESSAGES}/{held[0]}?claim_id={claim.upper()}")


def dead_letters(it: Walk) -> None:
    it.quiet("PUT", "/v2/queues/dead")
    attributes = {
        "_max_claim_count": 1,
        "_dead_letter_queue": "dead",
        "_dead_letter_queue_messages_ttl": 900,
    }
    it.ask("make", "PUT", "/v2/queues/q", attributes)
    it.post("q", "a", "b")
    claim, _ = it.claim("q", 1)
    it.quiet("DELETE", f"{CLAIMS}/{claim}")
    it.ask("the first has been claimed once", "POST", f"{CLAIMS}?limit=1", {"ttl": 60, "grace": 60})
    it.ask("what is left", "GET", f"{MESSAGES}?echo=true")
    it.ask("the dead letters", "GET", "/v2/queues/dead/messages?echo=true")
    it.ask("the dead letters, claimed", "POST", "/v2/queues/dead/claims", {"ttl": 60, "grace": 60})
    it.ask("counts", "GET", "/v2/queues/dead/stats")


def dead_letters_of_a_name_with_a_dot(it: Walk) -> None:
    it.quiet("PUT", "/v2/queues/q", {"_max_claim_count": 1, "_dead_letter_queue": "dead.letters"})
    it.post("q", "a")
    claim, _ = it.claim("q", 1)
    it.quiet("DELETE", f"{CLAIMS}/{claim}")
    it.ask("claim", "POST", f"{CLAIMS}?limit=1", {"ttl": 60, "grace": 60})
    it.ask("what is left", "GET", f"{MESSAGES}?echo=true")


SCENARIOS: list[Scenario] = [
    takes, extends_lives, shows, renews, releases, takes_only_what_is_free, races, dead_letters,
    dead_letters_of_a_name_with_a_dot, a_claim_in_capitals,
]  # fmt: skip
