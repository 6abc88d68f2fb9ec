"""The sections that say what is protected: `privacy` and `policy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, field

from ecotone.config.kinds import LabelName, ModelName, Name, Region, Section, Text
from ecotone.values import Egress


class Label(Section, frozen=True, kw_only=True):
    """What a label allows."""

    egress: Annotated[
        Egress,
        Meta(
            description="`free`, `never`, or `pseudonymise`: it goes with surrogates in place of its values, as far "
            "as they are found (best effort), and stays where one cannot be replaced.",
            extra={"missing": "say what the label allows: `egress: never` or `egress: free`"},
        ),
    ]


class Terms(Section, frozen=True, kw_only=True):
    """A list of the site's own words."""

    file: Annotated[
        Text,
        Meta(
            description="Text file, UTF-8, a term a line; empty lines and lines that begin with `#` are passed over. "
            "`hub:NAME[@VERSION]` is one that the site's hub delivers, signed.",
            extra={"missing": "say which file holds the terms: `file: patients.txt`"},
        ),
    ]
    label: Annotated[
        LabelName,
        Meta(
            description="Label of a conversation that holds one. A label that no one else knows stays at the site.",
            extra={"missing": "say which label these terms carry: `label: patient`"},
        ),
    ]


class Privacy(Section, frozen=True, kw_only=True):
    """What is looked for in a request, and what each label allows."""

    detectors: Annotated[
        tuple[Name, ...],
        Meta(
            description="Detectors to run: `patterns`, `names`, `topics`, and those of plug-ins. `[]` runs none: "
            "labels then come from callers alone. A conversation that a missing, failing or late detector should have "
            "seen gets the label `unknown`, and `unknown` stays at the site."
        ),
    ] = ("patterns", "names", "topics")
    labels: Annotated[
        Mapping[LabelName, Label],
        Meta(description="Overrides of what a label allows, by label."),
    ] = field(default_factory=dict)
    terms: Annotated[
        tuple[Terms, ...],
        Meta(description="The site's own words to look for (patients, projects), by the hundred thousand."),
    ] = ()
    topic_examples: Annotated[
        Text | None,
        Meta(
            description="File with the site's own examples of topics, a JSON object a line: `label` (a new one, or one "
            "of `topics`; `none` for text that may pass) and `text`. A few dozen for each label. May be "
            "`hub:NAME[@VERSION]`."
        ),
    ] = None
    withhold: Annotated[
        tuple[LabelName, ...],
        Meta(
            description="Labels whose values are taken out of what cloud targets answer, unless the conversation holds "
            "them: `[contact, card]`. Seen by patterns alone; a stream then comes up to 160 characters later."
        ),
    ] = ()
    look_s: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description="For `names`, `topics` and plug-ins to look at what is new in a conversation, before anything "
            "of it goes to the cloud. Late means `unknown`.",
        ),
    ] = 1.0


class When(Section, frozen=True, kw_only=True):
    """A rule's condition: all that is given must match."""

    key: Annotated[Name | None, Meta(description="The API key's name in `keys`.")] = None
    label: Annotated[LabelName | None, Meta(description="A label of the request.")] = None
    model: Annotated[ModelName | None, Meta(description="The model name that was asked for.")] = None
    target: Annotated[Name | None, Meta(description="The target.")] = None
    to_region: Annotated[
        tuple[Region, ...], Meta(description="Regions of the target; a target without a region matches too.")
    ] = ()


class Rule(Section, frozen=True, kw_only=True):
    """One line of `policy`."""

    when: Annotated[When, Meta(description="When the rule speaks. Default: always.")] = When()
    egress: Annotated[
        Egress,
        Meta(
            description="`free`, `never` or `pseudonymise`.",
            extra={"missing": "say what the rule allows: `egress: never`"},
        ),
    ]
