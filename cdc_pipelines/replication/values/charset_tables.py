"""Where Debezium and the server read the same bytes of a text differently.

Debezium decodes a text with the Java charset that the driver names for the column's character set. For some sets that
is a neighbour (Windows-1252 for dec8), for others another edition of the standard. Recorded from both connectors (MySQL
3.6.1, MariaDB 3.5.0) for every code of every set: the first text has the characters of the events, the second what the
server says in their places (`?`: the bytes stand for nothing). A test compares every code anew.
"""

_PRIVATE_USE = range(0xE000, 0xF900)

_TABLES: dict[str, tuple[str, str]] = {
    "armscii8": (
        "¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ"
        "ŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™",
        "❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'"
        "\x8c\x9c\x8a\x9a\x9f\x8e\x9e\x83\x88\x98\x96\x97\x91\x92\x82\x93\x94\x84\x86\x87\x95\x85\x89\x8b"
        "\x9b\x80\x99",
    ),
    "cp1256": (
        "ٹڈڑکںھہے",
        "????????",
    ),
    "cp866": (
        "¤№",
        "²ⁿ",
    ),
    "dec8": (
        "¤¦¨¬\xad®¯´¸¾Ð×ÝÞð÷ýþÿŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™",
        "??¤????????ŒŸ??œÿ??\x8c\x9c\x8a\x9a\x9f\x8e\x9e\x83\x88\x98\x96\x97\x91\x92\x82\x93\x94\x84\x86"
        "\x87\x95\x85\x89\x8b\x9b\x80\x99",
    ),
    "euckr": (
        "㉾",
        "?",
    ),
    "gb18030": (
        "龴龵龶龷龸龹龺龻︐︑︒︓︔︕︖︗︘︙",
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864\ue78d\ue78f\ue78e\ue790\ue791\ue792\ue793\ue794"
        "\ue795\ue796",
    ),
    "gbk": (
        "€♁",
        "?⊕",
    ),
    "geostd8": (
        "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿŒœŠšŸŽžƒˆ˜™",
        "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ???????????????????????№?????????????",
    ),
    "greek": (
        "ͺ‘’€₯",
        "?ʽʼ??",
    ),
    "hebrew": (
        "¯",
        "‾",
    ),
    "hp8": (
        "¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ"
        "ŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™",
        "ÀÂÈÊËÎÏ´ˋˆ¨˜ÙÛ₤¯Ýý°ÇçÑñ¡¿¤£¥§ƒ¢âêôûáéóúàèòùäëöüÅîØÆåíøæÄìÖÜÉïßÔÁÃãÐðÍÌÓÒÕõŠšÚŸÿÞþ·µ¶¾—¼½ªº«■»±?"
        "\x8c\x9c\x8a\x9a\x9f\x8e\x9e\x83\x88\x98\x96\x97\x91\x92\x82\x93\x94\x84\x86\x87\x95\x85\x89\x8b"
        "\x9b\x80\x99",
    ),
    "keybcs2": (
        "¤§¨¬\xad´¸ÁÂÇËÍÎÓÔ×ÚÝâçëîýĂăĄąĆćČčĎďĐđĘęĚěĹĺĽľŁłŃńŇňŐőŔŕŘřŚśŞşŠšŢţŤťŮůŰűŹźŻżŽžˇ˘˙˛˝",
        "╧⌡∙ŕ≡∩≈╡╢Č╙╓╫αΓŘΘφďčĚľ∞╞╟ňŇÁŤ¼ť╥╘╤╨šř╖╪žŽÓůÝěπΣ╒σĹÍΦΩⁿ²Úý╕¡µτ▌εŠĽ▐Ďδ√ĺŔ╜╛ŮÔ≤⌠·≥±",
    ),
    "koi8u": (
        "∙╓╕╖╜╢╤╥╫",
        "•єіїґЄІЇҐ",
    ),
    "sjis": (
        "—＼",
        "―\\",
    ),
    "swe7": (
        "@[\\]^`{|}~\x7f\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëì"
        "íîïðñòóôõö÷øùúûüýþÿŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™",
        "ÉÄÖÅÜéäöåü????????????????????????????????????????????????????????????????????????????????????????"
        "????????????????????????????????????",
    ),
    "tis620": (
        "\xa0",
        "�",
    ),
    "ujis": (
        "—＼～",
        "―\\~",
    ),
}

AS_THE_SERVER: dict[str, dict[int, int | str]] = {
    name: {ord(theirs): ours for theirs, ours in zip(*texts, strict=True)} for name, texts in _TABLES.items()
}
"""Per character set: `str.translate`'s table from the event's text to the server's."""
# The standard's editions swapped these with characters for private use: Java follows the latest, the server the first.
AS_THE_SERVER["gb18030"] |= {ord(ours): ord(theirs) for theirs, ours in zip(*_TABLES["gb18030"], strict=True)}
AS_THE_SERVER["gbk"] |= dict.fromkeys(_PRIVATE_USE, "?")
