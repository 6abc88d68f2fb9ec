"""What is said of quality: what a model name promises, how answers are compared, and what finding out may cost."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ecotone.config.kinds import Amount, Name, Section, Text

Share = Annotated[float, Meta(ge=0, le=1)]


class Quality(Section, frozen=True, kw_only=True):
    """The promise of a model name against the cloud's answers."""

    loss_max: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How much worse the answers may be than if the cloud had given them all, on the checker's "
            "scale: 0.02 is two points of a hundred.",
        ),
    ] = 0.02
    confidence: Annotated[
        float, Meta(gt=0, lt=1, description="Confidence with which the promise is to hold, such as 0.95.")
    ] = 0.95
    cloud_share: Annotated[
        Share | None,
        Meta(
            description="Share of calls that the cloud is to answer, held by a price on the predicted loss; the "
            "promise wins. Default: as few as the promise allows."
        ),
    ] = None


class Compare(Section, frozen=True, kw_only=True):
    """How an answer at the edge is compared with the cloud's."""

    check: Annotated[
        Text,
        Meta(
            description="`auto` (by what was asked), `match`, `numbers`, `json`, `calls`, `code`, `similar`, "
            "`embedding`, `judge`, or the name of a plug-in (entry point group `ecotone.checkers`)."
        ),
    ] = "auto"
    judge: Annotated[
        Name | None,
        Meta(
            description="The target that judges, with `check: judge`, and where `auto` finds no other way. It is asked "
            "twice, with the answers swapped; one in the cloud gets only what policy lets go there."
        ),
    ] = None


class Learning(Section, frozen=True, kw_only=True):
    """What finding out about quality may cost. It is at work where a model name has `quality` or `mode: shadow`."""

    shadow_share: Annotated[
        Share,
        Meta(
            description="Share of the requests answered in the cloud that run at the edge too, in silence, when it is "
            "idle. They cost nothing but power, and teach almost all there is to learn. 0 = nothing new is learned."
        ),
    ] = 1.0
    paid_share_max: Annotated[
        Share,
        Meta(
            description="Most of what the edge answers that is checked in the cloud, so that a promise can be made "
            "anew; a few hundred for each certificate."
        ),
    ] = 0.05
    cloud_usd_per_day: Annotated[
        Amount, Meta(description="US dollars a UTC day for such checks and for judges in the cloud.")
    ] = 1.0
    cloud_tokens_per_day: Annotated[
        int, Meta(ge=0, description="Tokens a UTC day for the same, in and out together.")
    ] = 1_000_000
    examples: Annotated[
        bool,
        Meta(
            description="Keep a few questions and answers that compared badly, encrypted, for `ecotone report`; only "
            "of conversations without labels."
        ),
    ] = False
