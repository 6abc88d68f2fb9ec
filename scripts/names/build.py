"""Writes src/ecotone/detectors/names_lists.txt: given names, family names and ordinary words, for the detector `names`.

    python -m venv /tmp/lists && /tmp/lists/bin/pip install names==0.3.0 Faker==40.63.0
    /tmp/lists/bin/python scripts/names/build.py TOKENIZER.json SUMMARIES.tsv STRINGS.json > src/ecotone/detectors/names_lists.txt

Sources: the US Census of 1990 as the package `names` (MIT) ships it, public domain; the name lists of `Faker` (MIT) for
languages in Latin script. A name that is an ordinary word too stands with `~`: alone it says nothing. Ordinary is what
stands in lower case in the vocabulary of a general tokenizer (of the package `wordllama`, MIT), at least three times in
the docstrings of Python's standard library, or at least eight times, and oftener than with a capital, in the one-line
summaries of packages on PyPI (a TSV whose last column is the summary); twice will do for what also stands in the
vocabulary of en_core_web_sm (MIT).
"""

from __future__ import annotations

import collections
import importlib
import json
import pathlib
import pkgutil
import re
import sys
import sysconfig
import unicodedata

import faker.providers.person
import names

LAST_MAX = 12_000
LAST_FAKER_MAX = 1_200
NOT_WORDS = frozenset(
    "john david michael james peter paul maria anna robert thomas daniel martin richard george charles william joseph"
    " alexander andrew simon kevin brian eric adam ben sam tom tim jack joe bob mike steve dave jim kate jane mary alice"
    " lisa laura sarah emma sophie julia nicole susan karen nancy linda barbara henry arthur walter oscar louis carlos"
    " luis pedro juan jose antonio francisco manuel marie pierre jean jacques michel hans karl peter klaus anton otto"
    " ivan alex chris nick matt dan ron ken roger scott craig keith bruce albert ernest ralph carl fred harry larry"
    " jerry terry barry gary philip stephen edward benjamin samuel jonathan christopher matthew anthony donald kenneth"
    " joshua timothy jeffrey ryan jacob nicholas justin brandon gregory raymond patrick dennis douglas aaron kyle adam"
    " nathan zachary ethan noah logan smith johnson jones brown miller davis garcia wilson anderson taylor moore jackson"
    " thompson white harris clark lewis robinson walker".split()
)
ALSO_WORDS = frozenset(
    "art bill mark will grace hope faith joy rose may april june august summer autumn dawn eve iris ivy lily olive daisy"
    " pearl ruby amber crystal jade opal gene guy drew chase chance grant grant lane dale glen heath cliff rocky sandy"
    " rusty randy dean duke earl king prince major noble royal sterling ray jay gay bo ace angel christian cash buck bud"
    " frank rich rob pat sue mercy charity honor honesty patience prudence constance melody harmony destiny heaven"
    " trinity paris london dallas austin houston jordan israel kenya india asia america carolina georgia virginia"
    " savannah sydney madison brooklyn chelsea florence vienna victoria santiago milan cody java ruby python julia"
    " robin jasmine ginger basil sage herb pepper candy star sky skye rain raven wren robin jay phoenix man son"
    " see so an do in la le de da el al my na van von don long short young law price love sun moon park lee an you"
    " many more so he she you the and for not but can has had any all one two ten six case best post gross power"
    " tage felsen wahl rauch kosten kunde freund mutter vater bruder schwester ringer barone gute welt bild mann frau kind"
    " ende zeit jahr jahre arbeit haus land teil seite weg tag woche monat geld recht kraft rat grund herr early lately saal sommer stein tore genie admiral rolle bergen rumpf princess treasure precious diamond miracle deacon chief doc storm starr claude mistral gemini alexa siri cortana watson einstein amazon tesla ford mercedes porsche nova max min".split()
)
PLACES = frozenset(
    "afghanistan africa albania algeria america argentina armenia asia australia austria azerbaijan bangladesh barbados"
    " belarus belgium bolivia brazil bulgaria cambodia cameroon canada chad chile china colombia congo croatia cuba"
    " cyprus denmark dominica ecuador egypt england estonia ethiopia europe finland france georgia germany ghana greece"
    " guatemala guinea haiti honduras hungary iceland india indonesia iran iraq ireland israel italy jamaica japan"
    " jordan kazakhstan kenya korea kuwait latvia lebanon libya lithuania luxembourg malaysia mali malta mexico moldova"
    " monaco mongolia montenegro morocco nepal netherlands nicaragua niger nigeria norway oman pakistan panama paraguay"
    " peru philippines poland portugal qatar romania russia rwanda scotland senegal serbia singapore slovakia slovenia"
    " somalia spain sudan sweden switzerland syria taiwan tanzania thailand togo tunisia turkey uganda ukraine uruguay"
    " venezuela vietnam wales yemen zambia zimbabwe alabama alaska arizona arkansas california carolina colorado"
    " connecticut dakota delaware florida hawaii idaho illinois indiana iowa kansas kentucky louisiana maine maryland"
    " massachusetts michigan minnesota mississippi missouri montana nebraska nevada hampshire jersey ohio oklahoma"
    " oregon pennsylvania rhode tennessee texas utah vermont virginia washington wisconsin wyoming amsterdam athens"
    " atlanta austin baghdad bangkok barcelona beijing berlin bern bonn bordeaux boston bremen brussels budapest cairo"
    " calgary chicago cleveland cologne copenhagen cordoba dallas delhi denver detroit dortmund dresden dubai dublin"
    " edinburgh essen florence frankfurt geneva genoa glasgow granada hague hamburg hannover heidelberg helsinki houston"
    " istanbul jakarta jerusalem kiel köln kyoto leipzig lille lima lisbon liverpool london lyon madrid mainz manchester"
    " manila marseille melbourne memphis miami milan milano montreal moscow mumbai münchen munich nairobi nantes napoli"
    " naples nice nürnberg orlando osaka oslo ottawa oxford paris parma phoenix pisa porto portland prague quebec riga"
    " rio rom roma rome rotterdam salzburg santiago seattle seoul seville shanghai siena sofia stockholm strasbourg"
    " stuttgart sydney tampa tokyo torino toronto toulouse tunis turin utrecht valencia vancouver venice verona vienna"
    " warsaw wien zurich zürich trier ulm bayern hessen sachsen brandenburg saarland tirol kent essex sussex surrey"
    " devon york cambridge buenos aires victoria shire sevilla valladolid bilbao malaga málaga zaragoza alicante murcia santander toledo cadiz cádiz pamplona burgos leon"
    " león salamanca granada venezia firenze bologna genova palermo catania bari trieste padova brescia modena perugia"
    " pescara lecce amersfoort arnhem breda delft eindhoven groningen haarlem leiden maastricht nijmegen tilburg zwolle"
    " antwerpen gent brugge leuven luik brussel namur mons nancy metz reims rouen dijon grenoble rennes nantes tours"
    " limoges amiens orléans avignon cannes toulon annecy aachen augsburg bamberg bochum braunschweig chemnitz duisburg"
    " erfurt freiburg gera göttingen halle kassel koblenz krefeld magdeburg mannheim potsdam regensburg rostock"
    " saarbrücken schwerin wiesbaden wuppertal würzburg graz linz innsbruck klagenfurt basel luzern lausanne lugano"
    " lima bogota quito caracas habana santo domingo cordoba rosario mendoza galaxy samsung deutsch deutschland welt stadt".split()
)
COMMON_FEMALE, COMMON_MALE = 1500, 800


def folded(name: str) -> str:
    """Lower case, composed."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def is_name(name: str) -> bool:
    """One word of Latin letters, apostrophe and hyphen allowed inside."""
    return bool(re.fullmatch(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", name)) and len(name) > 1 and is_latin(name)


def is_latin(name: str) -> bool:
    """No letter of another script."""
    return all(not char.isalpha() or unicodedata.name(char, "").startswith("LATIN") for char in name)


def census(file: str, count: int) -> list[str]:
    """The most frequent names."""
    path = pathlib.Path(names.__file__).parent / file
    return [folded(line.split()[0]) for line in path.read_text().splitlines()[:count]]


def flat(values: object) -> list[str]:
    """The strings in nested lists."""
    if isinstance(values, str):
        return [values]
    return [text for value in values for text in flat(value)] if isinstance(values, (list, tuple, dict)) else []


def from_faker() -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Given and family names with the number of locales that list them."""
    given: collections.Counter[str] = collections.Counter()
    family: collections.Counter[str] = collections.Counter()
    for module in pkgutil.iter_modules(faker.providers.person.__path__):
        provider = getattr(importlib.import_module(f"faker.providers.person.{module.name}"), "Provider", None)
        seen: set[str] = set()
        first: set[str] = set()
        for attribute in dir(provider):
            values = getattr(provider, attribute)
            if not isinstance(values, (list, tuple, dict)) or "formats" in attribute:
                continue
            found = {folded(part) for value in flat(values) for part in value.split()}
            found = {name for name in found if is_name(name)}
            if attribute.startswith(("first_name", "first_romanized")):
                first |= found
            elif attribute.startswith(("last_name", "last_romanized")):
                seen |= found
        given.update(first)
        family.update(sorted(seen)[:LAST_FAKER_MAX])
    return given, family


def ordinary(tokenizer: pathlib.Path) -> set[str]:
    """Words that stand in lower case in general text."""
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    words = {token[1:] for token in vocabulary if re.fullmatch("▁[a-z]{2,}", token)}
    counts: collections.Counter[str] = collections.Counter()
    for path in pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"):
        for text in re.findall(r'"""(.*?)"""|#(.*)', path.read_text(errors="ignore"), re.DOTALL):
            counts.update(re.findall(r"(?<![\w.])[a-z]{2,}(?![\w(.])", " ".join(text)))
    return words | {word for word, count in counts.items() if count >= 3}


def summarised(summaries: pathlib.Path, strings: pathlib.Path) -> tuple[set[str], set[str]]:
    """Words that summaries of packages write in lower case: mostly so, and at all."""
    seen = set(json.loads(strings.read_text()))
    low: collections.Counter[str] = collections.Counter()
    high: collections.Counter[str] = collections.Counter()
    with summaries.open(errors="ignore") as lines:
        for line in lines:
            for word in set(re.findall(r"(?<![\w.@/-])[A-Za-z]{3,}(?![\w(/@-])", line.rstrip("\n").rpartition("\t")[2])):
                (low if word.islower() else high)[word.lower()] += 1
    often = {word for word, count in low.items() if count >= (2 if word in seen else 8)}
    return {word for word in often if low[word] >= high[word]}, often


def shown(found: set[str], words: set[str], common: frozenset[str] = frozenset()) -> str:
    """The section's lines, at most 120 characters each."""
    lines, line = [], ""
    for name in sorted(found):
        is_weak = name in ALSO_WORDS or name in PLACES or (name in words and name not in NOT_WORDS)
        item = ("~" if is_weak and words else "+" if name in common else "") + name
        if len(line) + len(item) > 118:
            lines, line = [*lines, line], ""
        line = f"{line} {item}".strip()
    return "\n".join([*lines, line])


def main() -> None:
    """Prints the file."""
    mostly, often = summarised(*map(pathlib.Path, sys.argv[2:4]))
    words = ordinary(pathlib.Path(sys.argv[1])) | mostly
    counts, family = from_faker()
    female, male = census("dist.female.first", 3000), census("dist.male.first", 1219)
    given = set(counts) | set(female) | set(male)
    common = frozenset(female[:COMMON_FEMALE] + male[:COMMON_MALE]) | {name for name, count in counts.items() if count > 1}
    last = {name for name in set(family) | set(census("dist.all.last", LAST_MAX)) if len(name) > 2}
    plain = {word for word in (words | often) - NOT_WORDS if 2 < len(word) < 20 and word not in given and word not in last}
    print("# Given names (~ a word, a place or a brand too; + common), family names, and ordinary words.")
    print("# Made by scripts/names/build.py, which tells the sources and their licences.")
    print(f"[given]\n{shown(given, words, common)}\n[family]\n{shown(last, words)}\n[words]\n{shown(plain, set())}")


main()
