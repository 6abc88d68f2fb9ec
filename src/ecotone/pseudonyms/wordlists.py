"""Lists of words for names. Our own: given names that women and men share where there are such, and surnames that are
not words that a text would use by themselves. A list is one text, cut at the blanks.
"""

from __future__ import annotations

from typing import Final

_TITLES_TEXT: Final = (
    "mr mrs ms miss mx dr prof professor sir madam herr frau "
    "fräulein m mme mlle monsieur madame sr sra srta señor señora "
    "don doña dott dottore signor signora ing dipl mag jr ii iii "
    "iv phd md"
)
_PARTICLES_TEXT: Final = (
    "van von der den de del della di da du des la le el al bin ibn ben zu zum zur dos das e y af av ter ten te"
)
_COMMON_TEXT: Final = (
    "will may mark rose grace hope faith joy dawn art bill bob "
    "jack frank drew chase hunter grant dean earl duke king "
    "prince young long short black white brown green gray grey "
    "blue stone wood woods hill lake rivers field fields page "
    "price rich case cross day knight bishop baker cook carter "
    "mason miller smith taylor turner parker walker fisher porter "
    "ward wells west east north south summer winter august june "
    "april autumn ivy daisy lily iris amber ruby pearl jade angel "
    "christian pat sue ray rob nick skip guy gene lance dash max "
    "mini ace chip cliff dale glen heath brook brooks forest ford "
    "bush bond banks bank church temple love best good moody "
    "small little major sharp swift strong wise noble power "
    "powers ball bell bird fox wolf lamb hart hawk swan drake "
    "finch martin crane rice bean berry cherry olive ginger rusty "
    "sandy stormy sunny lane street park parks house homes mills "
    "mill wall post potter shepherd weaver marsh moss reed frost "
    "snow rain storm waters pool poole bay beach sands read "
    "reading hall gates gate key keys locke nelson jordan paris "
    "london austin dallas houston israel chad georgia virginia "
    "carolina sydney florence victoria charlotte regina madison "
    "lincoln washington jackson cleveland man mann groß klein "
    "lang kurz jung alt neu weiß schwarz braun grün koch bauer "
    "schmidt schneider weber becker richter vogel fuchs hahn berg "
    "stein bach wald busch blum baum sommer herbst ernst engel "
    "kaiser könig herzog graf petit grand roi roy blanc noir brun "
    "roux bon beau belle marie pierre roche mer lac bois fleur "
    "user assistant system content name note customer patient "
    "client doctor hi hello dear thanks please yes no the a an i "
    "you he she it we they me my in on at to for and or but if "
    "not so"
)
_GIVEN_TEXT: Final = (
    "Alexis Kerrin Jamie Casey Quinn Riley Avery Emery Finley Harley Kendall Lindsey Marlowe Noa Reese Sasha "
    "Tatum Yuri Zion Ariel Blair Corey Darcy Ellis Frankie Hollis Jules Lennox Nico Ori Peyton Remy Shea Toni "
    "Wynn Xenia Yael Zuri Andrea Bobbie Carey Devin Francis Gabriele Hadley Ira Jody Kelsey Leslie Micah Nikola "
    "Owain Pascale Rory Sidney Tracey Valery Whitney Adrian Bellamy Camille Dominique Esme Florian Gwyn Ilya "
    "Jessie Kai Lou Mika Noel Odell Pilar Sami Tevin Uli Aubrey Beverley Cameron Dallin Elliot Farrin Gerrin "
    "Hilary Imre Jocelyn Kirby Lorin Merrin Nevin Oisin Perrin Quincy Rennie Sanne Torin Umi Vivien Wim Yoni Zel "
    "Amari Briar Cleo Dorian Emlyn Fenn Graeme"
)
_SURNAMES_TEXT: Final = (
    "Kellerhoff Brandt Lindqvist Moravec Tarrant Velasco Okafor Castellan Dubrov Ferrant Halvorsen Ivarsson "
    "Jankowitz Kowalcek Lorimer Marchetti Novarro Ostrander Pellerin Quintrell Rosenthal Santoro Thorvald Ulmann "
    "Vasquel Wexford Yarrow Zielinska Abernath Bellwether Corvino Dressler Eastlake Fairholm Galbraith Hollander "
    "Ingram Jorgensen Kettering Langford Merriwick Norgate Oppenheim Prescott Ravenel Stanhope Tolliver Underhill "
    "Vandermere Whitlock Ackermann Bergstrom Caldwell Dunmore Ellerby Fontanel Grantham Harcourt Islington "
    "Kilbride Lombardi Montclair Nordlund Ormonde Pemberton Radcliff Sandoval Trevelyan Valmont Winterton Ashdown "
    "Brannigan Cavanagh Delacroix Everhart Falkenrath Goldstern Hartigan Jessup Kirkwall Lachlan Mandrake "
    "Niedermeyer Osterberg Pickering"
)
_HAN_SURNAMES_TEXT: Final = "欧阳 司马 上官 诸葛 尉迟 慕容 端木 皇甫 令狐 宇文 夏侯 东方 南宫 公孙 轩辕 长孙"
_HAN_GIVEN_TEXT: Final = (
    "子墨 一诺 若溪 亦辰 语桐 清越 知远 思齐 景行 云舒 沐阳 念初 怀瑾 星野 书瑶 安澜 承宇 南乔 乐山 听雨"
)
_CYRILLIC_GIVEN_TEXT: Final = "Саша Женя Валя Слава Шура Паша Мика Ариэль Ноа Ким Робин Тони"
_CYRILLIC_SURNAMES_TEXT: Final = "Дубровин Тарханов Велесов Крыжич Мореску Орданов Пелевицкий Раевич Стельмах Юрасов"
_HANGUL_NAMES_TEXT: Final = "남궁가온 황보나래 제갈다온 선우라온 독고마루 사공바다 서문새론 동방아라 망절이든 어금한결"
_SYLLABLES_TEXT: Final = (
    "ba be bo da de do fa fe ga go ka ke ko la le lo ma me mo na ne no ra re ro sa se so ta te to va ve vo"
)

TITLES: Final = frozenset(_TITLES_TEXT.split())
"""Before or after a name, and no part of it."""
PARTICLES: Final = frozenset(_PARTICLES_TEXT.split())
"""Between the parts of a name."""
COMMON: Final = frozenset(_COMMON_TEXT.split())
"""Names that are words too, and words that a detector may take for names: replaced elsewhere only as written."""
GIVEN: Final = tuple(_GIVEN_TEXT.split())
SURNAMES: Final = tuple(_SURNAMES_TEXT.split())
HAN_SURNAMES: Final = tuple(_HAN_SURNAMES_TEXT.split())
HAN_GIVEN: Final = tuple(_HAN_GIVEN_TEXT.split())
CYRILLIC_GIVEN: Final = tuple(_CYRILLIC_GIVEN_TEXT.split())
CYRILLIC_SURNAMES: Final = tuple(_CYRILLIC_SURNAMES_TEXT.split())
HANGUL_NAMES: Final = tuple(_HANGUL_NAMES_TEXT.split())
SYLLABLES: Final = tuple(_SYLLABLES_TEXT.split())
"""What names are invented of."""
