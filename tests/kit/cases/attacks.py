"""The bad inputs that the attacks use, by name; test_the_table.py counts them."""

from urllib.parse import quote

from tests.kit.cases.registrations import REFUSED
from tests.kit.tokens import MAC_LENGTH, encoded, put_together, take_apart

HUGE = 10_000


def forged_codes(code: str, other: str) -> dict[str, str]:
    """What somebody makes who has seen a link's code, and that of another device."""
    device_id, generation, mac = take_apart(code)
    other_id, _, other_mac = take_apart(other)
    content = code[: -len(mac)]
    flipped = {
        f"with character {index} of the MAC changed": (
            f"{content}{mac[:index]}{'a' if mac[index] != 'a' else 'b'}{mac[index + 1 :]}"
        )
        for index in range(len(mac))
    }
    lengths = (1, 7, len(mac) - 1, len(mac), len(mac) + 1, len(content), len(code) - 1)
    cut = {f"cut to {length}": code[:length] for length in lengths}
    odd = {
        "without a generation": encoded(device_id),
        "of an empty generation": encoded(f"{device_id}."),
        "without a subject": encoded(f".{generation}"),
        "without a content": "",
        "of a NUL": encoded("\0"),
        "of no UTF-8": "777777y",
        "of the next generation": encoded(f"{device_id}.1"),
        "of a negative generation": encoded(f"{device_id}.-0"),
        "of a generation with a zero before it": encoded(f"{device_id}.00"),
        "of a generation with a plus": encoded(f"{device_id}.+0"),
        "of a generation in Arabic digits": encoded(f"{device_id}.\u0660"),
        "of a generation of ten digits": encoded(f"{device_id}.1000000000"),
        "of another device": encoded(f"{other_id}.{generation}"),
        "of a device in capitals": encoded(f"{device_id.upper()}.{generation}"),
        "of a device and a path": encoded(f"{device_id}/../{other_id}.{generation}"),
        "of a device and a dot": encoded(f"{device_id}..{generation}"),
        "of two devices": encoded(f"{device_id}.{other_id}.{generation}"),
        "of a device and a line end": encoded(f"{device_id}.{generation}\n"),
        "of a wide dot": encoded(f"{device_id}\uff0e{generation}"),
        "of braces": encoded("{{7*7}}.0"),
        "of a script": encoded("<script>alert(1)</script>.0"),
        "of a confirmation": encoded(f"confirm-{device_id}-0.0"),
        "of a design document": encoded("_design/syncpoint.0"),
        "of a huge device": encoded("x" * HUGE + ".0"),
        "of many dots": encoded("." * HUGE),
        "with bits of the content that base32 does not count": (
            f"{content[:-1]}{neighbour(content[-1])}"
        ),
    }
    return (
        flipped
        | cut
        | {name: text + mac for name, text in odd.items()}
        | {
            "in the old form": f"{device_id}.{generation}.{mac}",
            "empty but for a dot": ".",
            "extended": f"{code}a",
            "extended by a part": f"{code}.a",
            "extended by another": f"{code}{code}",
            "with the MAC first": f"{mac}{content}",
            "with the MAC twice": f"{code}{mac}",
            "with a padded MAC": f"{code}==",
            "with a line end": f"{code}\n",
            "with a NUL": f"{code}\0",
            "with a blank before it": f" {code}",
            "with the MAC of another": f"{content}{other_mac}",
            "with a wide letter": f"{chr(ord(code[0]) + 0xFEE0)}{code[1:]}",
            "with a Cyrillic letter": f"{code[:9]}\u0435{code[10:]}",
            "with a Kelvin sign": f"{code[:9]}\u212a{code[10:]}",
            "with a zero-width space": f"{code[:9]}\u200b{code[9:]}",
            "with a hyphen": f"{code[:9]}-{code[9:]}",
            "turned around": f"\u202e{code[::-1]}",
            "encoded twice": "".join(f"%25{ord(letter):x}" for letter in code),
            "with half a percent": f"{code[:-1]}%",
            "with bits of the MAC that base32 does not count": f"{code[:-1]}{neighbour(mac[-1])}",
            "with the MAC of zeros": f"{content}{'a' * len(mac)}",
            "huge": "x" * HUGE + mac,
        }
    )


def neighbour(character: str) -> str:
    """The character of base32 that differs in the lowest bit alone."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return alphabet[alphabet.index(character) ^ 1]


def url_safe(text: str) -> str:
    """A text as it stands in a path."""
    return quote(text, safe="")


# What somebody calls a device or a channel.
TEXTS = {
    "a header": "Ada\r\nBcc: eve@evil.example",
    "a header by a line feed": "Ada\nBcc: eve@evil.example",
    "a header by a carriage return": "Ada\rBcc: eve@evil.example",
    "an end of the headers": "Ada\r\n\r\n<h1>Pay here</h1>",
    "a line separator": "Ada\u2028Bcc: eve@evil.example",
    "a paragraph separator": "Ada\u2029Bcc: eve@evil.example",
    "a next line": "Ada\x85Bcc: eve@evil.example",
    "a vertical tab": "Ada\x0bBcc: eve@evil.example",
    "a form feed": "Ada\x0cBcc: eve@evil.example",
    "an encoded header": "=?utf-8?q?Ada=0d=0aBcc:_eve@evil.example?=",
    "an end of a MIME part": "Ada\n--===============\nContent-Type: text/html",
    "a boundary": "--=============== Content-Type: text/html",
    "a NUL": "Ada\0phone",
    "an escape sequence": "Ada\x1b[2J\x1b[31mphone",
    "a backspace": "Ada\b\b\bEve",
    "a deletion": "Ada\x7f",
    "an override to the left": "Ada\u202eenohp",
    "an override to the right": "Ada\u202dphone",
    "an embedding": "Ada\u202bphone",
    "an isolate": "Ada\u2066phone",
    "an isolate that nobody ends": "\u2067Ada",
    "a mark to the left": "Ada\u200fphone",
    "an Arabic letter mark": "Ada\u061cphone",
    "a zero-width space": "Ada\u200bphone",
    "a word joiner": "Ada\u2060phone",
    "a byte order mark": "\ufeffAda",
    "a soft hyphen": "Ada\xadphone",
    "invisible tags": "Ada" + "".join(chr(0xE0000 + ord(letter)) for letter in "hello"),
    "nothing to be seen": "\u3164\u2800",
    "half a character": "Ada\ud800",
    "the other half of a character": "Ada\udc00",
    "no character": "Ada\uffff",
    "a script": "<script>alert(1)</script>",
    "an image": "<img src=x onerror=alert(1)>",
    "an end of the title": "</title><script>alert(1)</script>",
    "an end of the page": "</dd></dl></main></body></html><form action=//evil.example>",
    "an attribute": '" autofocus onfocus=alert(1) x="',
    "an attribute by an apostrophe": "' onmouseover='alert(1)",
    "a comment": "<!--",
    "a CDATA section": "<![CDATA[",
    "an entity": "&lt;script&gt;&#x3c;b&#x3e;",
    "a style": "<style>*{display:none}</style>",
    "a meta refresh": "<meta http-equiv=refresh content=0;url=//evil.example>",
    "a frame": "<iframe src=//evil.example>",
    "braces": "{{7*7}}{{config}}",
    "a statement": "{% include 'active.html' %}",
    "a comment of Jinja's": "{#",
    "a format": "{0.__class__} %s %(x)s ${x}",
    "a link": "https://evil.example/login",
    "a link without a scheme": "www.evil.example/login",
    "a script's address": "javascript:alert(1)",
    "an address": "eve@evil.example",
    "an end of isolation": "</bdi><a href=//evil.example>",
    "very much": "x" * HUGE,
    "as much as there may be": "W" * 80,
    "combining marks": "A" + "\u0301" * 79,
    "joined emoji": "\U0001f469\u200d\U0001f4bb\u200d" * 10,
    "nothing": "",
    "blanks": "   ",
}

# What somebody gives as an owner's or a guest's address.
ADDRESSES = {
    "a header": "eve@evil.example\r\nBcc: ada@example.com",
    "a header by a line feed": "eve@evil.example\nBcc: ada@example.com",
    "a header in the local part": "eve\r\nBcc: x@evil.example",
    "an encoded header": "=?utf-8?q?x=0d=0aBcc:y?=@evil.example",
    "an encoded word": "=?us-ascii?q?ada=40example=2Ecom?=@evil.example",
    "two": "ada@example.com,eve@evil.example",
    "two with a semicolon": "ada@example.com;eve@evil.example",
    "two with a blank": "ada@example.com eve@evil.example",
    "a name and an address": "Ada <eve@evil.example>",
    "an address in brackets": "<eve@evil.example>",
    "a comment": "eve(ada@example.com)@evil.example",
    "a quoted local part": '"ada@example.com"@evil.example',
    "a quoted blank": '"eve x"@evil.example',
    "a route": "@evil.example:ada@example.com",
    "a percent": "ada%example.com@evil.example",
    "a bang": "evil.example!ada@example.com",
    "an address literal": "eve@[127.0.0.1]",
    "a host without a dot": "eve@localhost",
    "a dot at the end": "eve@evil.example.",
    "two dots": "eve..x@evil.example",
    "a dot before": ".eve@evil.example",
    "a wide at sign": "eve\uff20evil.example",
    "a small at sign": "eve\ufe6bevil.example",
    "a NUL": "eve\0@evil.example",
    "a NUL at the end": "eve@evil.example\0.example.com",
    "an override": "eve\u202e@evil.example",
    "a zero-width space": "eve\u200b@evil.example",
    "half a character": "eve\ud800@evil.example",
    "a wide letter": "\uff45ve@evil.example",
    "a Kelvin sign": "\u212aate@evil.example",
    "a dotless i": "\u0131vy@evil.example",
    "an a of Cyrillic": "\u0430da@example.com",
    "a domain with an a of Cyrillic": "eve@ev\u0456l.example",
    "a domain that becomes a slash": "eve@evil.\u2100.example",
    "a local part of 65": "e" * 65 + "@evil.example",
    "a long domain": "eve@" + "a." * 130 + "example",
    "very long": "e" * HUGE + "@evil.example",
    "a script": "<script>@evil.example",
    "an apostrophe": "o'eve@evil.example",
    "braces": "{{7*7}}@evil.example",
    "a pipe": "|id@evil.example",
    "a backtick": "`id`@evil.example",
    "a file": "/etc/passwd@evil.example",
    "mailto": "mailto:eve@evil.example?bcc=ada@example.com",
    "a URL": "https://evil.example/@x",
    "nothing": "",
    "an at sign": "@",
}

# Ids of documents, and parts of paths, that would lead elsewhere.
IDS = {
    "up": "..",
    "here": ".",
    "up and down": "../x",
    "up from the database": "../../_all_dbs",
    "up, encoded": "%2e%2e",
    "up, encoded twice": "%252e%252e",
    "up, encoded with its slash": "%2e%2e%2f_users",
    "up by a backslash": "..\\_users",
    "up below a design document": "_design/..",
    "here below a design document": "_design/.",
    "nothing below a design document": "_design/",
    "up below a local document": "_local/..",
    "far up below a design document": "_design/../../_users",
    "a design document": "_design/syncpoint",
    "a design document's view": "_design/syncpoint/_view/x",
    "a local document": "_local/x",
    "all documents": "_all_docs",
    "the security": "_security",
    "changes": "_changes",
    "a purge": "_purge",
    "a login": "org.couchdb.user:admin",
    "a slash": "a/b",
    "a slash first": "/_all_dbs",
    "two slashes": "//evil.example/x",
    "a slash, encoded": "a%2Fb",
    "a URL": "https://evil.example/x",
    "a query": "x?rev=1-a",
    "a fragment": "x#y",
    "a semicolon": "x;y",
    "a percent sign": "%",
    "a wrong percent": "%zz",
    "a NUL": "x\0y",
    "a NUL, encoded": "x%00y",
    "a line end": "x\r\nHost: evil.example",
    "a line that looks like a log's": 'x\n{"level":"ERROR","message":"forged"}',
    "a line separator": "x\u2028y",
    "an override": "x\u202ey",
    "an escape sequence": "x\x1b[2Jy",
    "a full-width solidus": "x\uff0fy",
    "full-width dots": "\uff0e\uff0e",
    "half a character": "x\ud800",
    "a letter and its mark": "e\u0301",
    "an emoji": "\U0001f600",
    "a blank": " ",
    "an object": "[object Object]",
    "a prototype": "__proto__",
    "a constructor": "constructor",
    "a claim": "x#new#0",
    "an owner's database": f"control-{'0' * 32}",
    "a channel's database": f"db-{'0' * 32}",
    "a confirmation": f"confirm-device-{'0' * 32}-0",
    "an expiry": f"expiry-{'0' * 32}-x",
    "a database": "_users",
    "nothing": "",
    "long": "x" * 2_100,
    "very long": "x" * HUGE,
}

# Spellings of one mailbox; its name stands in each for `{name}`.
SPELLINGS = {
    "case": ["{name}@example.com", "{name}@EXAMPLE.com", "{name}@Example.Com"],
    "blanks": ["{name}@example.com", " {name}@example.com", "{name}@example.com\u00a0"],
    "wide letters": ["{name}.a@example.com", "{name}.\uff41@example.com"],
    "a domain's two forms": ["{name}@b\u00fccher.example", "{name}@xn--bcher-kva.example"],
    "capitals in both": ["{name}@B\u00dcCHER.example", "{name}@XN--BCHER-KVA.example"],
    "composed and decomposed": ["{name}@b\u00fccher.example", "{name}@bu\u0308cher.example"],
    "a sharp s": ["{name}@stra\u00dfe.example", "{name}@STRA\u1e9eE.example"],
}

# What a mail server or a browser might take for a spelling of example.com or fish.example.
MISSPELLINGS = {
    "a wide letter": "{name}@\uff45xample.com",
    "a wide letter at the end": "{name}@example.co\uff4d",
    "an ideographic full stop": "{name}@example\u3002com",
    "a wide full stop": "{name}@example\uff0ecom",
    "a variation selector": "{name}@exa\ufe0fmple.com",
    "a grapheme joiner": "{name}@exa\u034fmple.com",
    "a zero-width joiner": "{name}@exa\u200dmple.com",
    "a Mongolian selector": "{name}@exa\u180bmple.com",
    "a dot at the end": "{name}@example.com.",
    "a ligature": "{name}@\ufb01sh.example",
    "punycode of ASCII": "{name}@xn--example-.com",
}

# Types of a body that is no form, and no JSON; a page may post the first few to any site.
BARE_CONTENT_TYPES = [
    "",
    "text/plain",
    "text/plain;charset=UTF-8",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded-not",
    "application/octet-stream",
]
# Chalice takes these for a form; a form may come from any site anyway, but JSON must not.
SLY_CONTENT_TYPES = [
    "text/plain; application/x-www-form-urlencoded",
    "text/plain; application/json",
    "text/plain, application/json",
    "*/*",
]

# What a request can say of the host that it is for: header and value.
HOST_HEADERS = {
    "Host": ("Host", "evil.example"),
    "Host with a port": ("Host", "sync.example.com:evil.example"),
    "Host with a login": ("Host", "sync.example.com@evil.example"),
    "X-Forwarded-Host": ("X-Forwarded-Host", "evil.example"),
    "X-Forwarded-Server": ("X-Forwarded-Server", "evil.example"),
    "X-Forwarded-Proto": ("X-Forwarded-Proto", "http://evil.example"),
    "X-Forwarded-Prefix": ("X-Forwarded-Prefix", "//evil.example"),
    "X-Forwarded-Path": ("X-Forwarded-Path", "//evil.example"),
    "X-Host": ("X-Host", "evil.example"),
    "X-HTTP-Host-Override": ("X-HTTP-Host-Override", "evil.example"),
    "X-Original-URL": ("X-Original-URL", "https://evil.example/"),
    "X-Rewrite-URL": ("X-Rewrite-URL", "https://evil.example/"),
    "Forwarded": ("Forwarded", "host=evil.example;proto=http"),
    "Origin": ("Origin", "https://evil.example"),
    "Referer": ("Referer", "https://evil.example/"),
}


def nested_text(depth: int) -> str:
    """JSON of lists in lists."""
    return "[" * depth + "]" * depth


def documents_too_large() -> dict[str, str]:
    """Channel documents in JSON that are too large, too deep, or too many things."""
    begin = '{"type":"channel","state":"new"'
    members = ",".join(f'"{number:032x}"' for number in range(1_000))
    keys = ",".join(f'"key{number}":0' for number in range(HUGE))
    megabyte = "x" * 1_000_000
    return {
        "1 MB in a field": f'{begin},"notes":"{megabyte}"}}',
        "1 MB in the name": f'{begin},"name":"{megabyte}"}}',
        "1 MB in the name of a field": f'{begin},"{megabyte}":1}}',
        "10,000 fields": f"{begin},{keys}}}",
        "fields that fill what there is": f"{begin},{keys[:60_000].rpartition(',')[0]}}}",
        "1,000 members": f'{begin},"members":[{members}]}}',
        "lists 10,000 deep": f'{begin},"x":{nested_text(HUGE)}}}',
        "lists 1,000 deep": f'{begin},"x":{nested_text(1_000)}}}',
        "lists 900 deep": f'{begin},"x":{nested_text(900)}}}',
        "objects 2,000 deep": begin + ',"x":' + '{"a":' * 2_000 + "1" + "}" * 2_001,
        "a name that is deep": f'{begin},"name":{nested_text(500)}}}',
        "members that are deep": f'{begin},"members":{nested_text(500)}}}',
        "a type that is deep": f'{{"type":{nested_text(500)},"state":"new"}}',
        "a generation of 4,000 digits": f'{begin},"generation":{"9" * 4_000}}}',
        "a generation of 5,000 digits": f'{begin},"generation":{"9" * 5_000}}}',
        "a generation beyond all numbers": f'{begin},"generation":1e400}}',
    }


# Bodies that are no form of ours.
FORMS = {
    "1 MB": b"device_code=" + b"A" * 1_000_000,
    "many fields": b"&".join(b"a=b" for _ in range(HUGE)),
    "many separators": b"&" * 4_000,
    "deep brackets": b"a" + b"[a]" * 1_000 + b"=1",
    "JSON": b'{"device_code": "%s"}',
    "deep JSON": b"[" * 4_000,
    "half a percent": b"device_code=%",
    "a NUL": b"device_code=\x00\x00\x00\x00",
    "no UTF-8": b"device_code=\xff\xfe\xfd\xfc",
    "UTF-8 that is too long": b"device_code=\xc0\xaf\xc0\xaf\xc0\xaf\xc0\xaf",
    "UTF-16": "device_code=AAAA".encode("utf-16"),
    "half a character": b"device_code=%ED%A0%80AAAA",
    "another field": b"devicecode=AAAA",
    "a field in capitals": b"DEVICE_CODE=AAAA",
    "a list": b"device_code[]=AAAA",
    "not me, in capitals": b"answer=NOT-ME",
    "accept, and a blank": b"answer=accept%20",
    "both answers": b"answer=accept;answer=decline",
    "nothing": b"",
}


# Addresses that a document could want to be asked; `{trap}` is a port of the test's own.
URLS = {
    "a port of this machine": "http://{trap}/",
    "one with a login": "http://cloud.example@{trap}/",
    "the metadata of a Lambda's machine": "http://169.254.169.254/latest/meta-data/",
    "a file": "file:///etc/passwd",
    "another scheme": "gopher://{trap}/_x",
    "no scheme": "//{trap}/x",
}


def lures(device_code: str) -> dict[str, str]:
    """Names of a device that have its code in them."""
    plain = device_code.replace("-", "")
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in plain)
    return {
        "as it is": f"Phone {device_code}",
        "without its dash": f"Phone {plain}",
        "alone": plain,
        "in lower case": f"Type {plain.lower()} please",
        "with blanks": " ".join(plain),
        "with dots": ".".join(plain),
        "with dashes": "-".join(plain),
        "in wide letters": f"Phone {wide}",
        "with joiners": "\u200d".join(plain),
        "with marks": f"Phone ({plain[:4]}) [{plain[4:]}]",
        "within a word": f"x{plain}x",
        "in circles": "".join(chr(ord(letter) - ord("A") + 0x24B6) for letter in plain),
        "in mathematical letters": "".join(
            chr(ord(letter) - ord("A") + 0x1D400) for letter in plain
        ),
    }


# Documents' addresses in messages that the poller did not send: database, id, type, state.
FORGED_MESSAGES = {
    "a login": ("_users", "org.couchdb.user:x", "device", "new"),
    "a login as a channel": ("_users", "org.couchdb.user:x", "channel", "closing"),
    "the replicator's": ("_replicator", "x", "channel", "new"),
    "a database that is none": ("../_users", "x", "channel", "new"),
    "a database in capitals": ("Control", "x", "channel", "new"),
    "a database by a URL": ("http://evil.example/x", "x", "channel", "new"),
    "nothing's": ("", "x", "channel", "new"),
    "a long one's": ("x" * HUGE, "x", "channel", "new"),
    "a design document": ("{control}", "_design/syncpoint", "channel", "new"),
    "what leads up": ("{control}", "..", "channel", "new"),
    "what leads up below": ("{control}", "_design/..", "channel", "new"),
    "a document that is not there": ("{control}", "gone", "channel", "new"),
    "one in another state": ("{control}", "channel-photos", "channel", "closing"),
    "one of another type": ("{control}", "channel-photos", "invitation", "new"),
    "a note in a channel": ("{channel}", "forged", "channel", "new"),
    "a note that closes": ("{channel}", "closing", "channel", "closing"),
    "a device in a channel": ("{channel}", "device", "device", "confirmed"),
    "an invitation in a channel": ("{channel}", "invitation", "invitation", "new"),
    "a click in a channel": ("{channel}", "confirm", "confirm", "clicked"),
}

# What a topic could bring that SES did not send.
FORGED_NOTIFICATIONS = {
    "no JSON": "{",
    "an empty object": "{}",
    "a list as a mail": '{"eventType":"Bounce","mail":[]}',
    "a mail that is a number": '{"eventType":"Bounce","mail":7}',
    "no destination": '{"eventType":"Complaint","mail":{}}',
    "a destination that is a number": '{"eventType":"Complaint","mail":{"destination":7}}',
    "a bounce that is a text": (
        '{"eventType":"Bounce","bounce":"x","mail":{"destination":[],"tags":{}}}'
    ),
    "tags that are a list": (
        '{"eventType":"Bounce","bounce":{},"mail":{"destination":[],"tags":[1]}}'
    ),
    "a tag that is a number": (
        '{"eventType":"Bounce","bounce":{},"mail":{"destination":[],"tags":{"doc":7}}}'
    ),
    "a generation of 5,000 digits": (
        '{"eventType":"Bounce","bounce":{},"mail":{"destination":[],"tags":'
        '{"doc":["x"],"generation":["' + "9" * 5_000 + '"]}}}'
    ),
    "very deep": '{"mail":' + nested_text(50_000) + "}",
}


def counts() -> dict[str, int]:
    """How many bad inputs there are of each kind."""
    device, macs = f"device-{'0' * 32}", ["x" * MAC_LENGTH, "y" * MAC_LENGTH]
    return {
        "codes of links": len(forged_codes(*[put_together(device, 0, mac) for mac in macs])),
        "names": len(TEXTS),
        "addresses": len(ADDRESSES),
        "spellings of an address": sum(map(len, SPELLINGS.values())) + len(MISSPELLINGS),
        "ids and paths": len(IDS),
        "documents that are too much": len(documents_too_large()),
        "forms": len(FORMS),
        "content types": len(BARE_CONTENT_TYPES) + len(SLY_CONTENT_TYPES),
        "headers that name a host": len(HOST_HEADERS),
        "addresses to be asked": len(URLS),
        "names with the device code": len(lures("ABCD-EFGH")),
        "forged messages": len(FORGED_MESSAGES),
        "forged notifications": len(FORGED_NOTIFICATIONS),
        "registrations that the registrations endpoint refuses": len(REFUSED),
    }


if __name__ == "__main__":
    for kind, count in counts().items():
        print(f"{count:5} {kind}")
    print(f"{sum(counts().values()):5} in all")
