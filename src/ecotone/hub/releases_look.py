"""What the hub does about a release by itself: it looks, decides, notes, signs, and looks again later.

Every step may be done twice and changes nothing the second time, so that a hub that was killed anywhere goes on. What
is decided is decided by `fleet.waves` from levels: nothing follows from a site that says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from ecotone.fleet import waves
from ecotone.fleet.waves import Decision, Standing, Tally
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.releases_fleet import Fleet, Signing
from ecotone.hub.releases_rows import LOCK, LOCK_WAIT_S, found, put, text
from ecotone.hub.releases_values import Release
from ecotone.hub.tables_releases import release_sites, releases
from ecotone.hub.work_tasks import Next, Step
from ecotone.trust.agreeing import Asset

__all__ = ["Looking"]

LOOK_S: Final = (2.0, 10.0)
"""Between two looks at a release that waits: least, and most for many sites; most of a site's steps take longer."""
SITES_A_SECOND: Final = 500
JOIN_S: Final = 60.0
"""Between two looks for sites that were enrolled after a release had come to its end."""
AT_ONCE: Final = 2_000
"""Sites that are wished in one signing."""

_Assets = tuple[Asset, ...]


class Looking:
    """The job `look`. One process at a time does it."""

    def __init__(self, database: Database, acts: Acts, fleet: Fleet, wishes: Signing) -> None:
        """Reads nothing yet."""
        self._database: Final = database
        self._acts: Final = acts
        self._fleet: Final = fleet
        self._wishes: Final = wishes

    def __call__(self, step: Step, subject: str) -> Next:
        """One look at a release."""
        decided = step("decide", lambda: self.decide(subject))
        if decided["new"] or decided["back"]:
            step("note_wishes", lambda: self.note_wishes(subject, decided))
            step("sign", lambda: self.sign(subject, decided))
        in_s = step("note", lambda: self.note(subject, decided))
        return Next(in_s)

    def decide(self, subject: str) -> dict[str, Any]:
        """What is to be done now, from what is known now."""
        with self._database.read() as c:
            release = found(c, subject)
        if release.standing.state == "done":
            decision = Decision(standing=release.standing, wish_new=self._joining(release), tally=release.tally)
        else:
            decision = self._decided(release)
        return {
            "look": release.looks + 1,
            "before": text(release.standing),
            "after": text(decision.standing),
            "tally": text(decision.tally),
            "new": list(decision.wish_new[:AT_ONCE]),
            "back": list(decision.wish_back[:AT_ONCE]),
            "is_all": len(decision.wish_new) <= AT_ONCE and len(decision.wish_back) <= AT_ONCE,
        }

    def _decided(self, release: Release) -> Decision:
        views, now_s = self._fleet.views(release), self._fleet.clock()
        decision = waves.decide(release.plan, release.standing, views, now_s)
        # A pin at this very version does not keep it from coming, and from being taken back it does.
        held = self._fleet.pinned(release.name).intersection(decision.wish_back)
        if not held:
            return decision
        views = [msgspec.structs.replace(one, is_pinned=one.is_pinned or one.site in held) for one in views]
        return waves.decide(release.plan, decision.standing, views, now_s)

    def note_wishes(self, subject: str, decided: Mapping[str, Any]) -> bool:
        """Notes what is about to be signed, and what each site goes back to; once, whatever is killed."""
        now_s = self._fleet.clock()
        with self._database.read() as c:
            release = found(c, subject)
            kept = self._kept(c, release.name)
        told, wished = self._fleet.told(decided["new"]), self._fleet.wished(decided["new"])
        rows = []
        for site in decided["new"]:
            mine = _of_name(release.name, wished[site])
            before = waves.former(mine, told[site][0] if site in told else None, kept.get(site, ()))
            rows.append(
                {
                    "release": subject,
                    "site": site,
                    "name": release.name,
                    "before": text(before),
                    "wished_s": now_s,
                    "back_s": 0.0,
                }
            )
        with self._database.begin() as c:
            first = update(releases).where(releases.c.id == subject, releases.c.looks == decided["look"] - 1)
            if c.execute(first.values(looks=decided["look"])).rowcount == 0:
                return False
            named = f"{subject} {release.name}@{release.version}"
            if rows:
                # A row that is there says what the site had before this release: that stays true.
                c.execute(self._database.upsert(release_sites, rows, ["release", "site"], ()))
                self._acts.write("hub", "release.wish", named, at=c, sites=len(rows), wave=release.standing.wave)
            if decided["back"]:
                back = update(release_sites).where(release_sites.c.release == subject)
                c.execute(back.where(release_sites.c.site.in_(decided["back"])).values(back_s=now_s))
                self._acts.write("hub", "release.back", named, at=c, sites=len(decided["back"]))
        return True

    def sign(self, subject: str, decided: Mapping[str, Any]) -> int:
        """Signs the wishes, unless somebody has changed the release's state meanwhile; gives how many."""
        with self._database.lock(LOCK, LOCK_WAIT_S):
            with self._database.read() as c:
                release = found(c, subject)
                if text(release.standing) != decided["before"]:
                    return 0
                before = self._kept(c, release.name, release.plan.digests)
            wanted = self._wanted(release, decided, before)
            if wanted:
                self._wishes.set(wanted, f"release:{subject}")
        return len(wanted)

    def note(self, subject: str, decided: Mapping[str, Any]) -> float | None:
        """Writes where the release stands, unless somebody has changed it meanwhile; gives when it is due again."""
        now_s = self._fleet.clock()
        after = msgspec.json.decode(decided["after"], type=Standing)
        with self._database.lock(LOCK, LOCK_WAIT_S), self._database.begin() as c:
            release = found(c, subject)
            if text(release.standing) != decided["before"]:
                return self._in_s(release, is_all=False)
            if not decided["is_all"]:
                # The rest is signed by the next look: where it stands follows from what is signed.
                after = release.standing
            if after.state != release.standing.state:
                tally = msgspec.json.decode(decided["tally"], type=Tally)
                named = f"{subject} {release.name}@{release.version}"
                self._acts.write(
                    "hub", f"release.{after.state}", named, at=c, good=tally.good, failed=tally.failed, why=after.why
                )
            if after.state == "done" and release.ended_s:
                c.execute(update(releases).where(releases.c.id == subject).values(looked_s=now_s))
            else:
                put(c, subject, after, now_s, tally=decided["tally"], looked_s=now_s)
            release = found(c, subject)
        return self._in_s(release, is_all=bool(decided["is_all"]))

    def _in_s(self, release: Release, *, is_all: bool) -> float | None:
        if not is_all:
            return 0.0
        state = release.standing.state
        if state in ("rolling", "rolling_back"):
            return 1.0
        if state == "done":
            return JOIN_S if self._is_newest(release) else None
        least, most = LOOK_S
        return min(most, max(least, release.tally.sites / SITES_A_SECOND)) if state == "waiting" else None

    def _joining(self, release: Release) -> tuple[str, ...]:
        """Sites of a release that is through which have nothing of that name: they came after it."""
        if not self._is_newest(release):
            return ()
        return tuple(view.site for view in self._fleet.views(release, is_without=True) if not view.is_pinned)

    def _is_newest(self, release: Release) -> bool:
        newest = select(releases.c.id).where(releases.c.name == release.name)
        with self._database.read() as c:
            last = c.execute(newest.order_by(releases.c.created_s.desc(), releases.c.id.desc()).limit(1)).scalar()
        return last == release.id

    def _wanted(
        self, release: Release, decided: Mapping[str, Any], before: Mapping[str, _Assets]
    ) -> dict[str, _Assets]:
        sites = [*decided["new"], *decided["back"]]
        wanted = {}
        for site, now in self._fleet.wished(sites).items():
            others = tuple(one for one in now if one.name != release.name)
            mine = release.variants if site in decided["new"] else before.get(site, ())
            if (*others, *mine) != now:
                wanted[site] = (*others, *mine)
        return wanted

    @staticmethod
    def _kept(c: Connection, name: str, without: Sequence[str] = ()) -> dict[str, _Assets]:
        """What each site would go back to: what was remembered of it last, but for these manifests."""
        mine = select(release_sites.c.site, release_sites.c.before).where(release_sites.c.name == name)
        kept = {}
        for row in c.execute(mine.order_by(release_sites.c.wished_s)).all():
            before = msgspec.json.decode(row.before, type=_Assets)
            if not any(one.sha256 in without for one in before):
                kept[row.site] = before
        return kept


def _of_name(name: str, assets: Sequence[Asset]) -> _Assets:
    return tuple(one for one in assets if one.name == name)
