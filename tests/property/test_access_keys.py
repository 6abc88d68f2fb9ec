"""A site and its hub change the site's key, whatever is lost, killed, stolen or restored on the way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.hub.members import OWNER, Clock, Members

from ecotone.agent.identity import Enrolment, Identity
from ecotone.hub.database import Database
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.values import RefusalError, RequestError

NAME = "clinic-7"


class Keys(RuleBasedStateMachine):
    """A hub on SQLite and a site on a disk. Replies may be lost, and the site may be killed after any step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ecotone-keys-"))
        self.database = Database.open(str(self.folder / "hub.db"))
        self.members = Members(self.database, self.folder / "keys", Clock())
        self.store = self.folder / "site"
        self.stolen: list[Path] = []
        self.is_revoked = False

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def site(self) -> Identity:
        return Identity.load(self.store)

    def ask(self, prove: Callable[[str, str], dict[str, Any]]) -> bool:
        """Whether the hub grants a session."""
        challenge = self.members.sites.challenge(NAME).challenge
        body = prove(NAME, challenge)
        try:
            self.members.sites.session(NAME, body["challenge"], body["signature"], body.get("next_key"))
        except (RequestError, RefusalError):
            return False
        return True

    def begin(self, site: Identity, *, is_changing: bool = False) -> bool:
        """A session, as `agent.link` begins one."""
        if site.is_changing and self.ask(site.next_body):
            site.promote()
            return True
        if self.ask(
            lambda name, challenge: site.session_body(name, challenge, is_changing=is_changing or site.is_changing)
        ):
            return True
        return any(
            self.ask(lambda name, challenge, number=number: site.former_body(name, challenge, number))
            for number in range(site.formers)
        )

    def join(self, *, again: bool) -> None:
        _, token = self.members.sites.tokens.new(OWNER, TokenAsked(site=NAME, again=again))
        enrolment = Enrolment.begun(self.store, token)
        body = enrolment.body(token, NAME)
        self.members.sites.enroll(token, NAME, body["key"])
        enrolment.done()

    @initialize()
    def joins(self) -> None:
        self.join(again=False)

    @rule(is_changing=st.booleans())
    def begins_a_session(self, is_changing: bool) -> None:
        assert self.begin(self.site, is_changing=is_changing) is not self.is_revoked

    @rule(which=st.sampled_from(["key", "next"]))
    def loses_a_reply(self, which: str) -> None:
        """The hub has heard it, and the site does not know."""
        site = self.site
        if which == "next" and site.is_changing:
            self.ask(site.next_body)
        else:
            self.ask(lambda name, challenge: site.session_body(name, challenge, is_changing=True))

    @rule()
    def is_off_for_months(self) -> None:
        self.members.clock.now_s += 200 * 86_400

    @rule()
    def changes_its_key_whole(self) -> None:
        """Told, and used once: from then on no key before it is good."""
        before = self.site
        site = self.site
        if self.begin(site, is_changing=True) and site.is_changing and self.begin(site):
            assert not self.ask(lambda name, challenge: before.session_body(name, challenge))

    @precondition(lambda self: not self.is_revoked)
    @rule()
    def is_stolen_and_revoked_and_joins_again(self) -> None:
        thief = self.folder / f"thief-{len(self.stolen)}"
        shutil.copytree(self.store, thief)
        self.stolen.append(thief)
        self.members.sites.revoke(OWNER, NAME)
        self.is_revoked = True

    @precondition(lambda self: self.is_revoked)
    @rule()
    def joins_again(self) -> None:
        self.join(again=True)
        self.is_revoked = False

    @invariant()
    def no_thief_gets_in(self) -> None:
        for store in self.stolen:
            assert not self.begin(Identity.load(store))


Keys.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestKeys = Keys.TestCase
