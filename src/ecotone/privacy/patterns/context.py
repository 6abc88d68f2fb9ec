"""Words in front of a value that say what it is, in the languages that a site is likely to meet.

The word nearest to the value wins; a word that says the value is harmless (an order, a version) counts as one.
"""

from __future__ import annotations

import re
from functools import cache

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from ecotone.privacy.patterns.form import Form

REACH = 48
"""How far in front of a value its word may stand, code points."""

# What may stand between the word and its value.
_FILLER = Form(
    r"(?:[ \t\r\n:：#=№°º.,，、'\"“”()（）\[\]*_|/>-]|\b(?:no|nr|num|number|numbers|numero|número|numéro|nummer|id"
    r"|ids|is|was|are"
    r"|code|ending|in|on|the|of|a|to|for|my|del|di|de|la|le|du|el|der|die|lautet|ist|est|es|son|è|het|as|this"
    r"|these|value|field"
    r"|am|am:|date|el|born|day|year|with|new|new:)\b|号码|号|码|是|为|為|的|于|於|在|日期)*",
    re.IGNORECASE,
)

HARMLESS = "harmless"

WORDS = {
    "phone": """phone|phones|phone number|telephone|tel|tel.|mobile|mobile number|cell|cellphone|cell number|call
        |call me
        |calling|called|fax|whatsapp|text me|txt me|text|txt|hit me up|hmu|message me|ph|ph.|sms|contact
        |contact number|answering at|answering|reached at|reachable|pick up|contact no|contact me|dial|ring|ring me
        |reach me|reach him
        |reach her|reach us|reach them|hotline|landline|ext|callback|call back|voicemail|my number|his number
        |her number
        |their number|your number|our number|new number|direct line|pager|handynummer|handy|telefon
        |telefonnummer|mobil|mobilnummer|rufnummer|rückruf|anrufen|anruf|rückfragen|durchwahl|festnetz|tél|tél.
        |téléphone
        |portable|appelez|appeler|joindre|joignable|numéro de téléphone|teléfono|tfno|telf|móvil|movil|llamar
        |llame|llámame|llamarme|celular|contacto|telefono|tel.|cellulare|cell.|chiamare|chiamami|chiamarmi|recapito
        |telefoonnummer
        |telefoon|bellen|bel|mobiel|bereikbaar|telefone|telemóvel|ligar|contato|电话|电话号码|电話|電話|手机
        |手機|手机号
        |手机号码|联系|联系方式|联系人|致电|座机|拨打|来电|回电|传真|热线|打给|号码|號碼|携帯|電話番号|전화
        |휴대폰|연락처|连络|聯絡
        |ligue|chame|ring|puhelin|puhelinnumero|τηλέφωνο|τηλ|κινητό|טלפון|נייד|هاتف|جوال|تليفون|फोन|điện thoại|โทร
        |телефонуйте|дзвоніть|мобільний|zadzwoń|komórka|komórkowy|volejte|mobiltelefon|hívjon|sună|sunați|ara
        |cep|cep telefonu|телефон|тел|тел.|мобильный|звоните""",
    "ssn": """ssn|ssns|social security|social security number|social security no|social security #|social|itin
        |social insurance
        |social insurance number""",
    "national_id": """tax id|tax identification|taxpayer id|tin|ein|tax number|national id|national identity
        |identity number
        |identity card|id card|id number|national insurance|ni number|nino|nhs|nhs number|nhs no|aadhaar|aadhar
        |adhaar|pan
        |pan card|pan number|steuer-id|steuer id|steuerid|steueridentifikationsnummer|steuer-identifikationsnummer
        |steuernummer
        |idnr|id-nr|sozialversicherungsnummer|sozialversicherung|rentenversicherungsnummer|personalausweis
        |ausweisnummer
        |ausweis|personalausweisnummer|versicherungsnummer|sécurité sociale|securite sociale|n° ss|nir|insee
        |numéro fiscal
        |carte d'identité|carte nationale d'identité|cni|dni|nie|nif|cif|documento nacional|documento de identidad
        |seguridad social|cédula|cedula|codice fiscale|cod. fiscale|c.f.|carta d'identità|partita iva|bsn
        |burgerservicenummer
        |sofinummer|identiteitskaart|cpf|cnpj|rg|nif|contribuinte|cartão de cidadão|cartão cidadão|pesel|nip|dowód
        |rijksregisternummer
        |numéro national|ahv|ahv-nummer|avs|personnummer|cpr|henkilötunnus|rodné číslo|egn|cnp|oib|emso|curp
        |rut|run|cuit
        |cuil|pps|pps number|ppsn|sin|sin number|tfn|medicare|medicare number|my number|マイナンバー
        |주민등록번호|nric|fin|身份证
        |身份證|身份证号|身份证号码|证件|证件号|证件号码|身份號碼|居民身份证|社保|社保号|社保卡|社保卡号
        |社会保障号|社会保障|医保卡
        |医保号|纳税人识别号|税号|信用代码|统一社会信用代码|机构代码|军官证|士兵证|义务兵证|军字第|武字第
        |警官证|svnr|sv-nummer|fødselsnummer|fodselsnummer|kimlik|kimlik no|tc kimlik|tckn|adóazonosító
        |személyi szám|taj|αφμ|αμκα|іпн|рнокпп
        |תעודת זהות|ת"ז|ת.ז|身分證|身分證字號|身份证字号|統一編號|ktp|nik|cccd|cmnd|id no|id no.|id nr
        |kennitala|isikukood|asmens kodas
        |personas kods|единый граждански номер|егн|lični broj|jmbg|инн|снилс|паспорт""",
    "passport": """passport|passport number|passport no|passport #|reisepass|reisepassnummer|passnummer|passeport
        |pasaporte
        |passaporto|paspoort|paspoortnummer|passaporte|护照|護照|护照号|护照号码|旅券|通行证|港澳通行证""",
    "licence": """driver's license|drivers license|driver license|driver’s license|driver's licence
        |driver’s licence|drivers licence
        |driving licence|driving license|driver's license number|dl#|dl #|dl no|dl number|dl:|dln|driver id
        |license number|licence number
        |license no
        |licence no|führerschein|führerscheinnummer|permis de conduire|permis|carnet de conducir
        |permiso de conducir|licencia
        |licencia de conducir|patente|patente di guida|rijbewijs|rijbewijsnummer|carta de condução|cnh|驾照
        |驾驶证|驾驶证号
        |駕照""",
    "account": """account|account number|account no|account #|acct|acct.|acct no|a/c|a/c no|bank account|checking
        |savings
        |checking account|savings account|routing|routing number|routing no|aba|sort code|transit number|iban|bban
        |bsb|ifsc
        |beneficiary account|wire to|konto|kontonummer|konto-nr|kto|kto.|bankleitzahl|blz|bankverbindung|compte
        |numéro de compte
        |compte bancaire|rib|cuenta|cuenta bancaria|número de cuenta|conto|conto corrente|c/c|numero di conto
        |coordinate bancarie
        |rekening|rekeningnummer|bankrekening|conta|conta corrente|agência|账号|帐号|账户|帐户|银行账号
        |银行账户|对公账户|開戶
        |开户行|收款账号|賬號|口座番号|口座|계좌""",
    "iban": "iban|iban-nummer|iban number|iban code",
    "card": """card|card number|card no|card #|credit card|debit card|creditcard|cc|cc#|ccn|visa|mastercard|amex
        |american express
        |discover|card ending|kreditkarte|kreditkartennummer|kartennummer|karte|carte|carte bancaire|carte bleue
        |carte de crédit
        |numéro de carte|tarjeta|tarjeta de crédito|número de tarjeta|carta|carta di credito|numero di carta
        |creditcardnummer
        |kaart|kaartnummer|cartão|cartão de crédito|银行卡|银行卡号|信用卡|信用卡号|储蓄卡|借记卡|卡号|卡號
        |行卡|卡|尾号|カード番号|카드번호""",
    "record": """mrn|mrn#|mr#|medical record|medical record number|medical record no|med rec|chart number|chart no
        |chart #
        |patient id|patient number|patient no|patient #|patient|pt id|hospital number|case number|case no
        |case #|docket|docket number|member id
        |member number|member no
        |membership|membership number|membership no|policy|policy number|policy no|policy #|policy id|insurance
        |insurance id
        |insurance number|insurance no|group number|subscriber id|subscriber|beneficiary|beneficiary number
        |health plan|claim
        |claim number|claim no|claim #|customer id|customer number|customer no|customer #|client id|client number
        |client no
        |client #|employee id|employee number|employee no|employee #|emp id|staff id|badge|badge number
        |personnel number
        |student id|student number|student no|loan number|loan no|loan|npi|dea|dea number|vin
        |vehicle identification number|imei
        |imei number|license plate|licence plate|plate|plate number|registration number|reg no|number plate|loyalty
        |loyalty number|frequent flyer|certificate number|device id|patientennummer|patienten-nr|patienten-id
        |kundennummer
        |kunden-nr|kundennr|kdnr|kd.-nr|mitgliedsnummer|mitglieds-nr|versichertennummer|versicherungsnr
        |krankenversichertennummer
        |policennummer|vertragsnummer|personalnummer|matrikelnummer|aktenzeichen|fallnummer|kennzeichen
        |numéro client|n° client
        |numéro de client|numéro de patient|numéro patient|dossier|numéro de dossier|n° de dossier
        |numéro d'adhérent|adhérent
        |numéro de police|numéro de contrat|contrat|matricule|immatriculation|número de cliente|nº de cliente|cliente
        |número de paciente|historia clínica|nº de historia|expediente|número de póliza|póliza|número de afiliado
        |afiliado
        |número de socio|matrícula|codice cliente|numero cliente|codice paziente|cartella clinica|numero di polizza
        |polizza
        |numero di pratica|pratica|matricola|targa|tessera sanitaria|tessera|klantnummer|patiëntnummer|polisnummer
        |relatienummer|dossiernummer|lidnummer|personeelsnummer|kenteken|verzekeringsnummer|prontuário|apólice
        |matrícula
        |número do cliente|病历|病历号|住院号|门诊号|就诊卡|就诊卡号|病案号|登记号|检验号|工号|员工号
        |员工编号|学号|客户号|客户编号|会员
        |会员号|会员卡号|会员编号|保单|保单号|保险单号|合同编号|车牌|车牌号|车架号|准考证|准考证号|案号
        |患者编号|患者id|档案号|案件编号""",
    "birth": """dob|d.o.b|d.o.b.|birth|birthday|birthdate|birth date|date of birth|born|born on|bday|b-day|geb
        |geb.|geboren
        |geboren am|geburtsdatum|geburtstag|née le|né le|née|né|date de naissance|naissance|naissance le|nacido
        |nacida|nacido el|nacida el
        |fecha de nacimiento|nacimiento|nació|nato|nata|nato il|nata il|data di nascita|nascita|geboortedatum
        |geboren op
        |nascido|nascida|data de nascimento|nascimento|出生|出生日期|生日|生于|出生于|出生年月|生年月日
        |생년월일|дата рождения""",
    "code": """otp|one-time code|gate code|door code|alarm code|entry code|lock code|safe code|keypad code"
    "|one time code|one-time password|verification code|security code|access code
        |auth code|2fa code
        |2fa|mfa code|login code|confirmation code|pin|pin code|pin number|pin is|cvv|cvv2|cvc|cvc2|csc|passcode
        |tan|sicherheitscode
        |prüfnummer|geheimzahl|code secret|code confidentiel|cryptogramme|código de verificación
        |código de seguridad|clave
        |codice di sicurezza|codice segreto|pincode|验证码|校验码|动态码|动态口令|取款密码|支付密码|安全码|暗証番号""",
    "handle": "qq|qq号|qq群|微信|微信号|wechat|weixin|wechat id|icq|telegram|discord|skype|signal|支付宝|陌陌"
    "|line id|kakao",
    "mention": "slack|twitter|instagram|insta|ig|github|gitlab|tiktok|snapchat|snap|mastodon|bluesky|threads"
    "|linkedin|youtube|twitch"
    "|reddit|dm|teams",
    "ip": "ip|ip address|ip addresses|ip-adresse|adresse ip|dirección ip|indirizzo ip|ip-adres|ip地址|host|server"
    "|gateway|dns|ping|ssh|subnet",
    HARMLESS: """order|order number|order no|order #|order id|invoice|invoice number|invoice no|invoice #|tracking
        |tracking number
        |ticket|ticket number|version|ver|isbn|isbn-13|isbn-10|issn|doi|pmid|arxiv|sku|upc|ean|gtin|asin
        |part number|part no|model
        |model number|build|commit|revision|rev|sha|hash|md5|checksum|port|page|pages|pp|line|lines|timestamp|epoch
        |unix
        |trace|traceid|trace_id|trace id|request id|requestid|request_id|span|spanid|span_id|session|process|pid
        |chapter|section|figure|table
        |equation|rfc|issue|pr|bug|jira|release|transaction id|txid|bestellung|bestellnummer|bestell-nr|rechnung
        |rechnungsnummer|auftrag|auftragsnummer|sendungsnummer|artikelnummer|commande|numéro de commande|facture
        |pedido
        |número de pedido|factura|ordine|numero d'ordine|fattura|bestelling|bestelnummer|ordernummer|factuurnummer
        |订单|订单号
        |订单编号|单号|快递单号|运单号|发票|发票号|流水号|版本|版本号|时间戳|编号|序列号|条形码|型号|批次号
        |工单号|工单|注文番号
        |population|total|sum|amount|price|salary|revenue|usd|eur|rmb|元|seed|offset|length|size|width|height|bytes""",
}

_TIES = ("iban", "ssn")
"""Meanings that win where a word is listed twice."""


@cache
def _automaton() -> tuple[AhoCorasick, tuple[str, ...], tuple[bool, ...]]:
    meaning: dict[str, str] = {}
    for name, words in WORDS.items():
        for word in map(str.strip, words.split("|")):
            if word not in meaning or name in _TIES:
                meaning[word] = name
    listed = list(meaning)
    found = AhoCorasick(listed, matchkind=MatchKind.LeftmostLongest, implementation=Implementation.DFA)
    return found, tuple(meaning[w] for w in listed), tuple(w[-1] < "\u2e80" for w in listed)


class Words:
    """Finds the word that explains a value. Built once."""

    def __init__(self) -> None:
        self._find, self._meanings, self._spaced = _automaton()

    def before(self, text: str, start: int) -> tuple[str, int]:
        """What the nearest word in front of `start` says, and how many code points lie between; `("", 0)` if none.

        Looks no further than the segment, a blank line or `REACH`.
        """
        window = text[max(0, start - REACH) : start].lower()
        for wall in ("\x1e", "\n\n"):
            cut = window.rfind(wall)
            if cut >= 0:
                window = window[cut + len(wall) :]
        best = ("", 0)
        size = len(window)
        for index, at, end in self._find.find_matches_as_indexes(window):
            if self._spaced[index] and (
                (at and _joins(window[at - 1], window[at])) or (end < size and _joins(window[end], window[end - 1]))
            ):
                continue
            best = (self._meanings[index], size - end)
        return best


def _joins(outer: str, edge: str) -> bool:
    """The word goes on beyond its edge, so it is another word."""
    return edge.isalpha() and outer.isalpha() and outer < "\u2e80"


def linked(text: str, start: int, end: int) -> bool:
    """Between a word and its value stand only signs and small words: `no.`, `is`, `：`."""
    return _FILLER.fullmatch(text, start, end) is not None
