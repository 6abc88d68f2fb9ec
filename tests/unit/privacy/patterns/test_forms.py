"""What is found, by the form it is written in; and what looks like it and is none."""

from __future__ import annotations

import pytest

from ecotone.privacy.patterns import Patterns

PATTERNS = Patterns()

# kind, and a text with what must be found between « and ».
FOUND = """
email|write to «jane.doe+x@mail.example.co.uk», please
email|邮箱«user465@qq.com»。
email|«张三@example.com»
email|«john.doe(at)example.com»
email|«john [at] example [dot] com»
email|see 'o'neil' or («x.y@z.example»)
email|«jane at gmail dot com»
email|«jane @ gmail . com»
handle|reddit u/«throwaway_9921»
handle|hey «@mike» can you check
handle|«@jane_d» is here
handle|twitter «@jack.d» posts
handle|github: «octo_cat»
handle|username: «jdoe1987»
handle|微信号：«zhang_san88»
handle|QQ：«123456789»
phone|telefone «(351) 922 330 792»
phone|teléfono «(+57) 601 415 47 28»
phone|call «555-123-4567»
phone|«+1 (415) 555-2671 ext 44»
phone|«(978)645-9740x11144» mobile
phone|«001-748-088-2851x818»
phone|tel:«+442079460958»
phone|«+49 (0) 30 12345678»
phone|«+33 6 12 34 56 78» 2024
phone|Tel. «089/1234567»
phone|«06 12 34 56 78»
phone|手机«13867251934»，
phone|«138-0013-8000»
phone|(«+86 138 0013 8000»)
phone|座机«010-12345678»
phone|They're not answering at «785 8949»
phone|«50-98-28-96»-Office
phone|«(21) 3456-7890»
phone|«98765 43210» is hers
phone|hit me up at «6175551234»
phone|hey it's mike «6175551234»
phone|王(«13867251934»)
ip|host «10.0.0.12»:8080
ip|«192.168.1.100»
ip|«fe80::1ff:fe23:4567:890a»
ip|«d80:e4b5:79da:6cf6:71f3:51f7:9161:c319»
ip|ping «::1» now
ip|ip a[«fe80::9»]
mac|«00:1A:2B:3C:4D:5E»
mac|«00-1a-2b-3c-4d-5e»
mac|«AC:DE:48:00:11:22»
mac|«001a.2b3c.4d5e»
card|«4111 1111 1111 1111» exp 12/26
card|«4111111111111111»
card|«378282246310005»
card|«5555-5555-5555-4444»
card|«2223 0031 2200 3222»
card|«6011111111111117»
card|«30569309025904»
card|«6304000000000000»
card|«6212267832661663046»
card|«4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»
card|工行卡«6222021234567890»
card|1,赵明,«6214407816184959319»,x
iban|IBAN «DE89 3704 0044 0532 0130 00» und
iban|«GB82WEST12345698765432»
iban|IBAN: «DE00370400440532013000»
iban|«MT84MALT011000012345MTLCAST001S»
us_ssn|«123-45-6789»
us_ssn|my SSN is «078 05 1120»
us_ssn|SSN «123456789»
cn_id|«110105199803126517»
cn_id|«110105 19980312 6517»
cn_id|身份证«110101900307123»
cn_id|身份证号«110101199003071234»
cn_uscc|信用代码«91110108MA01YBNX62»
de_idnr|«86 095 742 719»
de_rvnr|«15 070649 C 103»
fr_nir|numéro de sécurité sociale «1 84 12 75 123 456 78»
es_dni|«12345678Z»
es_nie|«X1234567L»
it_codice_fiscale|«RSSMRA85T10A562S»
gb_nino|«AB 12 34 56 C»
gb_nino|national insurance number is «ZZ 507529 T»
gb_nhs|«943 476 5919»
in_aadhaar|«2345 6789 0124»
in_pan|«ABCPE1234F»
br_cpf|«123.456.789-09»
br_cnpj|«11.222.333/0001-81»
be_nn|«85.07.30-033.28»
ch_ahv|«756.9217.0769.85»
se_personnummer|«811218-9876»
fi_hetu|«131052-308T»
kr_rrn|«900101-1234567»
my_nric|«900101-14-5678»
sg_nric|«S1234567D»
sg_nric|«M1234567K»
hk_id|«A123456(7)»
mx_curp|«BADD110313HCMLNS09»
cl_rut|«12.531.909-2»
cz_rc|«710319/2745»
national_id|身分證字號«K160181599»
national_id|mijn BSN is «111222333»
passport|Passport No. «X1234567»
passport|passport: «AB 1234567»
driver_licence|driver's license «D123-4567-8901»
bank_account|account number: «12345678»
bank_account|sort code «12-34-56»
bank_account|Routing: «021000021»
record_number|MRN: «00-12-34-56»
record_number|Patient ID «PT-448812»
record_number|MRN -«00123456»
record_number|case number «2:21-cv-01234»
record_number|工号：«EMP20240315»
date_of_birth|born on «March 3, 1985»
date_of_birth|D.O.B.: «1987-04-12»
date_of_birth|geboren am «3. Mai 1978»
date_of_birth|出生日期：«1990年3月4日»
vehicle_plate|车牌«粤B·12345»
vehicle_plate|«沪AF01234»
street_address|at «123 Main Street, Springfield, IL 62704» now
street_address|«10 Downing Street, London SW1A 2AA»
street_address|«19 miller street suite 4» is mine
street_address|«Hauptstraße 5, 10115 Berlin»
street_address|«Am Karl-Marx-Allee 12»
street_address|«12 rue de la Paix, 75002 Paris»
street_address|«Calle Mayor 5, 28013 Madrid»
street_address|y vivo en «Camino Josep Alberto 56 , Barcelona, 41496»
street_address|«PO Box 1234»
street_address|寄到«北京市海淀区中关村大街27号»，谢谢
street_address|«杭州市西湖区文三路200号8楼801室»
street_address|«江苏省徐州市邳州市八路镇»
vehicle_plate|license plate «7ABC123», blue
vehicle_plate|plate no: «AB 123 CD» and more
record_number|patient id «A1B2C»
record_number|case no. «22-CV-04567»
secret.code|CVV «321»
secret.code|the gate code is «4482»#
secret.phrase|seed phrase: «abandon ability able about above absent absorb abstract absurd abuse access accident»
secret.password|pw «hunter22»
secret.key|AWS secret: «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»
secret.code|OTP «482913»
secret.password|password: «hunter2»
secret.password|the wifi password is «sunflower»
secret.password|DB_PASSWORD=«swordfish»
secret.password|"password": "«sesame»"
secret.password|pwd = '«abcd»'
secret.password|密码是«abc12345»
secret.key|api_key = "«f3a9b2c4d5e6f7a8b9c0»"
secret.authorization|Authorization: Bearer «abcdef1234567890abcdef»
secret.authorization|Basic «dXNlcjpwYXNz»
secret.private_key|«-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----» x
secret.private_key|«-----BEGIN PRIVATE KEY-----\\nMIIE, cut off»
secret.url_login|«postgresql://admin:s3cret@db.example.com:5432/app» x
secret.url_login|«redis://:p4ss@10.0.0.1:6379»
secret.aws_access_key|«AKIAIOSFODNN7EXAMPLE»
secret.github|user/«ghp_0123456789abcdefghijABCDEFGHIJ012345»
secret.telegram|bot «123456789:AAabcdefghijklmnopqrstuvwxyz0123456»
secret.jwt|«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZXN0In0.c2ln»
secret.anthropic|«sk-ant-api03-abcdefghij0123456789»
email|say «am9obkBleGFtcGxlLmNvbQ==» twice
email|q=«john%40example.com»&x=1
"""

# One text a line: nothing in it is anybody's.
HARMLESS = """
order 4532015112830366 shipped
Order number 123-45-6789 is late
commit 3f2a9c1be77d1f0a5b6c7d8e9f00112233445566
version 10.2.3.4 of the library
999.1.2.3 and 1.02.3.4
ISBN 978-3-16-148410-0
timestamp 1699999999999
uuid 550e8400-e29b-41d4-a716-446655440000
pi is 3.141592653589793238
1,234,567,890.12 and 12,345,678,901,234
2024-03-15T10:20:30.123456Z
15.03.2024 - 20.03.2024
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
[0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]
def f(a, b=10000): return a[::2] + b[::-1]
std::vector<int> a; ns::foo::bar; dead::beef::cafe::
12:30:45 and 01:02:03:04
RFC 2616 section 10.3.2
token = tokens[i]
password = getpass.getpass()
password = user_password
password: str
password(s): x
api_key = os.environ["OPENAI_API_KEY"]
api_key=YOUR_API_KEY_HERE
password: "Enter your password"
secret_key = config.get("secret")
Your password is incorrect. Please try again.
the token is unfortunately short
the key is to understand 12 basic concepts
Authorization: Bearer <token>
Basic understanding of calculus
@property
@app.route("/users/<id>")
  @cached_thing = 5
x@y
"x"@y_1
import {x} from "@types/node"
npm install react@18.2.0
icon@2x.png
git@github.com:foo/bar.git
q @ k.transpose(-2, -1)
x@self.w_q and a@b
=-@example.com
login is required
github issue tracker
user_id = request.user_1
login = name_1
10.1038/s41586-020-2649-2
0x7fffffffe000
page 123-456 of 7890
1999-2003 and 2010-2015
Phase 3 trial NCT04368728
0000 0001 0010 0011 0100 0101
01101000 01100101 01101100 01101100
0001234567
The patient was seen in 2019 and 2020.
account for 12000 users
member 5000 people
your passport expires 2019-03-12
he was born in Paris, and 1985 was cold
turn left at the second street
Main Street was busy; the drive took 20 minutes
订单号 2024031512345678 已发货
版本 1.2.3.4
共有 12345678 人
第3号 三号 一路12号线
密码是必填项
密码：password
省略 自治区
江苏省的经济
京A车 京ABCDE
名 https://example.com:8080/a@b
http://user:****@host/
://x
PRIVATE KEY of the door
AKIAAAAAAAAAAAAAAAAA
DE12 and DE1234 567890 x
AB12CDEF 345678901
xABCPE1234F ABCPE1234Fx _123-45-6789
sk-learn-is-nice-to-have
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/bbbb
QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=
-us12 and 8Q~ and .atlasv1.
(at) home
b (at) c
otp 123456789 is too long
http://127.0.0.1 and 0.0.0.0
+35236450.6 and +3.140000
DIGITS = "0123456789"
onlinepubs/9699919799
see RFC 2047/2243
@_special is private
auth = base64.b64encode and signature == stringEndArchive64
we meet @ noon . then
they dot com
cvv is on the back
seed phrase of twelve words
SWIFT/BIC: DEUTDEFF500
license plate of his car
patient id is missing
license plate: ab 12
token: aaaaaaaaaaaa1111
pw word
u/x
reddit is nice
1112223333 and 2113334444 and 2223334000
password: "three blind mice"
0123456789abcdef0123456789abcdef0123-us12
call 15.03.2024
4111111111111112_x 4111111111111111_x
4111111111111111x
江苏省。
110105199813126517 999999199003071234
123.456.789 10 Street 12 Road
110105180003126517
mail @example.com now
123-45-6789.5 and 123-45-6789,500
GB82 WEST  1234 5698 7654 32
15 070699 C 103
12 159949 C 103
"""


@pytest.mark.parametrize("line", FOUND.strip().split("\n"))
def test_a_form_is_found_where_it_stands(line: str) -> None:
    kind, _, text = line.replace("\\n", "\n").partition("|")
    start = text.index("«")
    end = text.index("»") - 1
    found = PATTERNS.find(text.replace("«", "").replace("»", ""))
    assert (kind, start, end) in [(f.kind, f.start, f.end) for f in found]


@pytest.mark.parametrize("text", HARMLESS.strip("\n").split("\n"))
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert PATTERNS.find(text) == []
