"""What a card shows beyond the main job: warnings, whole messages, why access was revoked, who can decide."""

from urllib.parse import unquote

import pytest

import blocks
from ledger.states import State
from sandbox.limits import elements_of
from sandbox.workspace import ANN, BOB, EVE, SAM, Message
from tests.support.steps import approved, clickable, day, posted, request_of, writes
from tests.support.world import World, eventually


def element(card: Message, action_id: str) -> dict[str, object]:
    """Return the button or menu of a card that has this action id."""
    found = [each for block in card.blocks for each in elements_of(block)]
    return next(each for each in found if each["action_id"] == action_id)


def line(world: World, card: Message, phrase: str) -> str:
    """Return the line of a card that has this phrase."""
    return next(each for each in world.slack.text_of(card).splitlines() if phrase in each)


def rejected(world: World, email: str, reason: str) -> Message:
    card = posted(world, email)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": reason})
    return world.shows(request_of(card), "rejected")


def revoked(world: World, email: str, reason: str) -> Message:
    card = approved(world, email)
    world.slack.click(BOB, card.ts, "more", value="revoke")
    world.slack.submit(BOB, values={"reason": reason})
    return world.shows(request_of(card), "revoked")


# Risks


def test_a_personal_address_is_a_warning_and_is_asked_about(town: World) -> None:
    card = posted(town, "li.wei@gmail.com")
    shown = town.slack.text_of(card)
    assert blocks.CHECK_WHO.strip() in shown
    assert "gmail.com" in str(element(card, "approve")["confirm"])
    assert "confirm" not in element(card, "options")
    assert shown.index(blocks.CHECK_WHO.strip()) < shown.index("Hello")
    town.slack.click(ANN, card.ts, "options")
    view = town.slack.open_view(ANN)
    assert view
    assert blocks.CHECK_WHO.strip() in town.slack.text_of(view)
    assert "Hello" in town.slack.text_of(view)  # the customer's message


def test_an_earlier_rejection_is_a_warning_with_its_reason(town: World) -> None:
    rejected(town, "tom@risk.example", "A rival")
    again = posted(town, "tom@risk.example")
    assert "<@U0BOB>" in line(town, again, blocks.REJECTED_BEFORE)
    assert "“A rival.”" in line(town, again, blocks.REJECTED_BEFORE)
    assert "Bob Brown" in str(element(again, "approve")["confirm"])
    assert "A rival" in str(element(again, "approve")["confirm"])
    colleague = posted(town, "eve@risk.example")
    assert "tom@risk.example" in str(element(colleague, "approve")["confirm"])
    # Approved all the same, they are no risk anymore: the last decision counts.
    town.slack.click(ANN, again.ts, "approve")
    town.shows(request_of(again), "approved")
    third = posted(town, "tom@risk.example")
    assert "confirm" not in element(third, "approve")
    assert blocks.REJECTED_BEFORE not in town.slack.text_of(third)


def test_a_colleagues_requests_do_not_hide_a_rejection(town: World) -> None:
    rejected(town, "tom@hidden.example", "A rival")
    for name in ("a", "b", "c", "d"):
        approved(town, f"{name}@hidden.example")
    assert "A rival" in str(element(posted(town, "tom@hidden.example"), "approve")["confirm"])


def test_access_that_was_revoked_is_a_warning(town: World) -> None:
    revoked(town, "ida@gone.example", "Contract ended")
    again = posted(town, "ida@gone.example")
    assert "<@U0BOB>" in line(town, again, blocks.REVOKED_BEFORE)
    assert "Contract ended" in str(element(again, "approve")["confirm"])


def test_a_request_without_a_risk_is_not_asked_about(town: World) -> None:
    approved(town, "ann@fine.example")
    assert "confirm" not in element(posted(town, "joe@fine.example"), "approve")


# Revoking


def test_revoking_asks_why_and_the_reason_is_found_by_searching(town: World) -> None:
    card = approved(town, "kim@revoke.example")
    town.slack.click(EVE, card.ts, "more", value="revoke")
    assert town.slack.open_view(EVE) is None  # she is no reviewer
    town.slack.click(BOB, card.ts, "more", value="revoke")
    view = town.slack.open_view(BOB)
    assert view
    assert "kim@revoke.example" in town.slack.text_of(view)
    town.slack.submit(BOB, values={"reason": " \u200b "}, enforce=False)
    assert view.errors == {"reason": blocks.REASON_MISSING}
    town.slack.submit(BOB, values={"reason": "Contract ended in spring"})
    card = town.shows(request_of(card), "revoked", "Contract ended in spring", "<@U0BOB>", "<@U0ANN>")
    assert [found.ts for found in town.slack.search("Contract ended in spring")] == [card.ts]
    query = f"SELECT reason, revoke_reason FROM requests WHERE id = '{request_of(card)}'"
    assert town.ledger(query) == [("", "Contract ended in spring")]
    trail = f"SELECT detail FROM trail WHERE request_id = '{request_of(card)}' AND event = 'revoking'"
    assert "Contract ended in spring" in str(town.ledger(trail))


def test_a_revocation_that_is_refused_leaves_no_reason(town: World) -> None:
    card = approved(town, "kim@refused.example")
    town.conveyor.fail("PATCH /exchange/authorizations/*", status=422, body={"error": "No"})
    town.slack.click(BOB, card.ts, "more", value="revoke")
    town.slack.submit(BOB, values={"reason": "Contract ended"})
    eventually(lambda: town.slack.replies(card.ts))
    card = town.shows(request_of(card), "approved")
    assert "Contract ended" not in town.slack.text_of(card)


def test_only_the_entry_that_revokes_opens_the_window(town: World) -> None:
    card = approved(town, "kim@entry.example")
    payload = town.slack.click_payload(BOB, card.ts, "more", value="revoke")
    payload["actions"][0]["selected_option"]["value"] = "of tomorrow"
    town.slack.send_payload(payload)
    town.told(BOB, blocks.ODD_CLICK)
    assert town.slack.open_view(BOB) is None


def test_a_window_for_an_old_round_revokes_nothing(town: World) -> None:
    card = approved(town, "kim@round.example")
    town.slack.click(BOB, card.ts, "more", value="revoke")
    town.conveyor.ask_again(request_of(card))
    again = clickable(town, request_of(card), round=2)
    town.slack.click(ANN, again.ts, "approve")
    town.shows(request_of(card), "approved", round=2)
    town.slack.submit(BOB, values={"reason": "Too late"})
    view = town.slack.open_view(BOB)
    assert view
    assert blocks.NOT_CURRENT in town.slack.text_of(view)
    assert [what for what, _ in writes(town, request_of(card))] == ["POST", "POST"]


def test_the_reason_for_revoking_survives_a_lost_ledger(world: World) -> None:
    world.start()
    card = approved(world, "kim@lost.example")
    world.conveyor.fail("PATCH /exchange/authorizations/*", times=None, status=503)
    world.slack.click(BOB, card.ts, "more", value="revoke")
    world.slack.submit(BOB, values={"reason": "Contract ended"})
    world.shows(request_of(card), "revoking", "Contract ended")
    world.kill()
    world.database.unlink()
    for more in ("-wal", "-shm"):
        world.database.with_name(world.database.name + more).unlink(missing_ok=True)
    world.start()
    world.conveyor.clear_faults()
    found = eventually(lambda: world.ledger("SELECT revoke_reason FROM requests WHERE state != 'closed'"))
    assert found == [("Contract ended",)]


# Long messages

LONG = " ".join(f"word{number}" for number in range(3000))


def test_a_long_message_is_shortened_between_words_and_shown_whole_in_pages(town: World) -> None:
    card = posted(town, "long@story.example", LONG)
    shown = town.slack.text_of(card)
    quoted = next(line for line in shown.splitlines() if line.startswith("word0"))
    assert len(quoted) <= blocks.MESSAGE_CHARS
    assert LONG.startswith(quoted.removesuffix("…") + " ")  # whole words
    town.slack.click(SAM, card.ts, blocks.SHOW_WHOLE)  # no reviewer, but he sees the card
    view = town.slack.open_view(SAM)
    assert view
    pages = [town.slack.text_of(view)]
    town.slack.click_in_view(SAM, blocks.PAGE_NEXT)
    pages.append(town.slack.text_of(view))
    town.slack.click_in_view(SAM, blocks.PAGE_BACK)
    assert town.slack.text_of(view) == pages[0]
    assert [word for page in pages for word in page.split() if word.startswith("word")] == LONG.split()
    assert writes(town, request_of(card)) == []
    town.slack.close(SAM)


def test_many_short_lines_are_shortened_as_well(town: World) -> None:
    card = posted(town, "lines@story.example", "\n".join(f"line{number}" for number in range(100)))
    assert f"line{blocks.MESSAGE_LINES - 1}…" in town.slack.text_of(card)
    assert f"line{blocks.MESSAGE_LINES}" not in town.slack.text_of(card)


def test_a_short_message_has_no_button(town: World) -> None:
    card = posted(town, "short@story.example", "Hello")
    assert blocks.SHOW_WHOLE not in str(card.blocks)


def test_a_page_that_slack_refuses_is_told(town: World) -> None:
    card = posted(town, "page@story.example", LONG)
    town.slack.click(SAM, card.ts, blocks.SHOW_WHOLE)
    town.slack.fail("views.update", body={"ok": False, "error": "not_found"})
    town.slack.private.clear()
    town.slack.click_in_view(SAM, blocks.PAGE_NEXT)
    town.told(SAM, "page@story.example")


def test_the_message_of_another_round_is_not_shown(town: World) -> None:
    card = posted(town, "round@story.example", LONG)
    payload = town.slack.click_payload(SAM, card.ts, blocks.SHOW_WHOLE)
    payload["actions"][0]["value"] = "7" + payload["actions"][0]["value"].lstrip("0123456789")
    town.slack.send_payload(payload)
    town.told(SAM, blocks.MESSAGE_GONE)


# What else a card says


def test_the_groups_are_in_the_text_that_searches_find(town: World) -> None:
    group = town.conveyor.add_group("Pentest 2026", "room-of-search")
    card = posted(town, dataroom_id="room-of-search")
    town.shows(request_of(card), "pending", "Pentest 2026")
    town.slack.click(ANN, card.ts, "approve", choose={"groups": [group]})
    card = town.shows(request_of(card), "approved")
    assert "Pentest 2026" in card.text
    assert card.ts in [found.ts for found in town.slack.search("Pentest 2026")]


def test_a_person_is_a_mention_on_the_card_and_a_name_in_its_text(town: World) -> None:
    card = approved(town)
    shown, name = town.slack.text_of(card), town.slack.users[ANN].real_name
    assert "<@U0ANN>" in shown
    assert name not in shown
    assert name in card.text


def test_every_outcome_has_an_icon_of_its_own() -> None:
    icons = [icon for _, icon in blocks.DECIDED.values()]
    assert len(set(icons)) == len(icons)


def test_a_last_day_too_far_away_is_refused_in_place(town: World) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "options")
    view = town.slack.open_view(ANN)
    assert view
    town.slack.submit(ANN, values={"ends": "day", "day": day(5 * 366 + 2)})
    assert view.errors == {"day": blocks.DAY_TOO_FAR}
    town.slack.submit(ANN, values={"ends": "day", "day": day(5 * 365)})
    town.shows(request_of(card), "approved")


def test_a_refusal_names_who_can_decide(town: World) -> None:
    card = posted(town)
    town.slack.click(SAM, card.ts, "approve")
    told = town.told(SAM, blocks.NOT_A_REVIEWER)
    assert "<@U0ANN>" in told
    assert "<@U0BOB>" in told
    assert "REVIEWERS" not in told


@pytest.mark.parametrize("gated", [True, False])
def test_the_email_says_where_to_sign_in_and_what_happens_next(world: World, gated: bool) -> None:
    world.start(TRUST_CENTER_URL="https://trust.harbor.example")
    card = posted(world)
    world.slack.click(ANN, card.ts, "options")
    world.slack.submit(ANN, values={"nda": [] if gated else ["nda"], "reason": "A big deal"})
    card = world.shows(request_of(card), State.APPROVED)
    letter = unquote(world.slack.text_of(card).split("mailto:")[1].split("|")[0])
    assert letter.startswith("jane@acme.com?")
    assert "https://trust.harbor.example" in letter
    assert (blocks.MAIL_NDA in letter) is gated
    assert letter.endswith(world.slack.users[ANN].real_name)
    assert "A big deal" not in letter
