"""Secrets without a form, behind a word that says so: `password: …`, `api_key=…`, `Authorization: Bearer …`."""

from __future__ import annotations

import re
from itertools import pairwise

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

# Strong words make any value a secret that is not plainly none; weak ones only a value that looks random.
_STRONG = (
    rb"passw(?:or)?d|passwort|passwd|passphrase|passcode|\bpass\b|pwd|\bpw\b|kennwort|mot de passe|\bmdp\b"
    rb"|contrase(?:\xf1|n)a|\bclave\b"
    rb"|wachtwoord|\bsenha\b|parola d'ordine|accountkey|sharedaccesskey|secret.?access.?key|client.?secret"
    rb"|secret.?key|app.?secret"
    rb"|private.?key"
)
_WEAK = (
    rb"token|secret|api.?key|access.?key|auth.?key|encryption.?key|signing.?key|licen[cs]e.?key|\bkey\b|\bauth\b"
    rb"|\bsig\b"
    rb"|signature|schl(?:\xfc|ue)ssel|\bcl(?:\xe9|e) api|\bllave\b|\bchiave\b|\bsleutel\b|\bjeton\b|cookie"
    rb"|session.?id|credential"
)
_BEARER_WORD = rb"\bbearer\b|\bbasic\b"
WORDS = _BEARER_WORD + rb"|" + _STRONG + rb"|" + _WEAK
_STRONG_WORD = Form(_STRONG.decode("latin-1"), re.IGNORECASE)

_VALUE = (
    r"""(?:"([^"\n\x1e]{4,200})"|'([^'\n\x1e]{4,200})'|`([^`\n\x1e]{4,200})`|([^\s"'`,;<>(){}\[\]，。；、]{4,400}))"""
)
_AFTER = Form(
    r"""[A-Za-z0-9_-]{0,24}(?:[ ][A-Za-z0-9'-]{1,14}){0,4}?(?:[ ]\([^()\n\x1e]{1,24}\))?["'`]?[\]}*]{0,3}[ \t]{0,3}"""
    r"""(:=|=>|->|==?|[:：]|\b(?:is|ist|est|es|was|to|lautet|reads)\b:?|è)[ \t*]{0,3}""" + _VALUE,
    re.IGNORECASE,
)
_AFTER_ZH = Form(
    r"(?:登录|登陆|开机|支付|交易|wifi|WiFi|Wi-Fi)?(?:密码|口令|密钥|秘钥|私钥|令牌|暗号|密碼|パスワード|비밀번호|[Пп]ароль)(?:现在|目前|还|就)?"
    r"""[ ]?(?:是|为|設為|设为|改为|改成|：|:|=|は|は「|—|-|）：)[ ]?["'“「『]?([!-~]{4,100})"""
)
_ZH_GATES = ("密", "口令", "钥", "令牌", "パスワード", "비밀", "ароль")
_BEARER = Form(r"(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/=-]{8,4096})", re.IGNORECASE)

_NEXT = Form(r"[ \t]([^\s,;:()\[\]{}<>=\"'`./\\]{6,64})(?=[\s,;.!)]|\Z)")
_BARE_WORDS = frozenset(("pw", "pwd", "password", "passwort", "passwd", "passcode", "kennwort"))

# What stands in for a secret, or is code that fetches one.
_STAND_IN = Form(
    r"[*xX.•…_#-]{3,}|[<{\[$%&@].*|.*[>}\]]|.{0,24}(?:your|placeholder|redacted|dummy|change.?me|insert"
    r"|replace).{0,60}"
    r"|(?:os|process|env|config|settings|self|this|args|request|req|params|options|ctx|data|user|std|var|props"
    r"|state|form|body"
    r"|response|res|session|secrets|vault|kwargs|event|input|cfg|opts|model|obj"
    r"|db)[.\[].*|https?:.*|.*\(\)?.*|/[a-z].*",
    re.IGNORECASE,
)
_PLAIN_WORDS = (
    "none null true false str string text int integer number bytes bool boolean any object varchar optional "
    "required undefined unknown empty missing invalid incorrect wrong correct valid expired secret password "
    "passwort token hidden hashed salted encrypted stored protected needed necessary mandatory important "
    "secure strong weak simple long short different same that this what which when where your their about with "
    "from value field input admin only case also just still already never always sometimes often usually being "
    "been have must should shall will would could cannot there here very more less another something nothing "
    "anything everything everyone set reset changed sent saved known lost forgotten leaked stolen falsch "
    "richtig erforderlich incorrecta requerida obligatoire default example sample test enabled disabled "
    "authentication access login user username email account server client public private session"
)
_PLAIN = frozenset(_PLAIN_WORDS.split())
_ENDING = ("ed", "ing", "able", "ible", "ly", "ion", "ment", "ness")
_STOP = ".,;:!?…\\"


def after_chinese_words(text: str) -> list[Hit]:
    """Secrets behind a word that is not in Latin-1, of which the gate sees nothing."""
    hits: list[Hit] = []
    if any(gate in text for gate in _ZH_GATES):
        for found in _AFTER_ZH.finditer(text):
            value = found[1].rstrip("\"'.,;:!?)")
            if len(value) >= 4 and _STAND_IN.fullmatch(value) is None and value.lower() not in _PLAIN:
                hits.append(Hit(found.start(1), found.start(1) + len(value), "secret.password", 0.9))
    return hits


def behind(text: str, start: int, end: int) -> Hit | None:
    """The secret behind the word at this span, if there is one."""
    word = text[start:end]
    if word[0] in "bB" and word.lower() in ("bearer", "basic"):
        found = _BEARER.match(text, start)
        if found is None or not _tokenish(found[1]):
            return None
        return Hit(found.start(1), found.end(1), "secret.authorization", 0.95)
    found = _AFTER.match(text, end, end + 480)
    if found is None:
        return _bare(text, word, end)
    group = next(g for g in (2, 3, 4, 5) if found[g] is not None)
    value, quoted, sign = found[group], group != 5, found[1]
    if not quoted:
        value = value.rstrip(_STOP)
    if len(value) < 4 or _STAND_IN.fullmatch(value) is not None or value.lower() in _PLAIN:
        return None
    if _STRONG_WORD.match(word) is not None:
        if not ((quoted and " " not in value) or _chosen(value, text, found, sign)):
            return None
        return Hit(found.start(group), found.start(group) + len(value), "secret.password", 0.9)
    if not random_like(value):
        return None
    return Hit(found.start(group), found.start(group) + len(value), "secret.key", 0.85)


def _bare(text: str, word: str, end: int) -> Hit | None:
    """`pw hunter22`: a value of letters and digits right behind the word."""
    found = _NEXT.match(text, end) if word.lower() in _BARE_WORDS else None
    if found is None or not (any(c.isdigit() for c in found[1]) and any(c.isalpha() for c in found[1])):
        return None
    return Hit(found.start(1), found.end(1), "secret.password", 0.8)


def _chosen(value: str, text: str, found: re.Match[str], sign: str) -> bool:
    """Someone chose it as a password: it is not an identifier of the program, and not a word of the sentence."""
    if " " in value:
        return False
    after = text[found.end() : found.end() + 1]
    if after and after in "([{":
        return False
    if sign in ("=", "==", ":=") and value.isidentifier() and text[found.start(1) - 1] == " ":
        return False
    if any(c.isdigit() for c in value) or any(not (c.isalnum() or c in "_-./'’") for c in value):
        return True
    if sign == "=" and text[found.start(1) - 1] != " ":
        return len(value) >= 6 and value.isalpha()
    return (
        sign.strip(":") in ("", "is", "ist", "est", "es", "lautet")
        and len(value) >= 6
        and value.isalpha()
        and not value.endswith(_ENDING)
        and after in ("", "\n", "\x1e", ".", ",")
    )


def _tokenish(value: str) -> bool:
    inner = value[1:]
    return any(c.isdigit() for c in value) or (inner != inner.lower() and inner != inner.upper() and len(value) >= 12)


def random_like(value: str) -> bool:
    """Letters and digits, or capitals among small letters, in no order: long, of many signs, no sentence."""
    size = len(value)
    if size < 12 or " " in value or "://" in value:
        return False
    if "." in value and all(part.isidentifier() for part in value.split(".")):
        return False
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    if len(set(value)) < 8 or digits + letters < size * 0.75:
        return False
    turns = sum(a.islower() and b.isupper() for a, b in pairwise(value))
    switches = sum(a.isdigit() != b.isdigit() for a, b in pairwise(value))
    if digits >= 2 and (switches >= 4 or turns >= 3):
        return True
    return size >= 20 and turns >= 4 and "_" not in value
