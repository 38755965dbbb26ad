"""The words of the English–German corpus and their German inflection; the grammar is in `translation.py`."""

from __future__ import annotations

from functools import cache

# --- nouns: English singular, plural | German singular, gender (mn: -n or -en outside the nominative), plural -------
# A dash: no plural. Two English words for one German word: a compound. Words within one item are joined by _.

NOUNS = {
    "person": """
        man men | Mann m Männer
        woman women | Frau f Frauen
        girl girls | Mädchen n Mädchen
        boy boys | Junge mn Jungen
        child children | Kind n Kinder
        teacher teachers | Lehrer m Lehrer
        doctor doctors | Arzt m Ärzte
        farmer farmers | Bauer mn Bauern
        neighbour neighbours | Nachbar mn Nachbarn
        police_officer police_officers | Polizist mn Polizisten
    """,
    "kin": """
        sister sisters | Schwester f Schwestern
        brother brothers | Bruder m Brüder
        aunt aunts | Tante f Tanten
        friend friends | Freund m Freunde
    """,
    "animal": """
        dog dogs | Hund m Hunde
        cat cats | Katze f Katzen
        horse horses | Pferd n Pferde
        bird birds | Vogel m Vögel
        bear bears | Bär mn Bären
    """,
    "text": """
        book books | Buch n Bücher
        letter letters | Brief m Briefe
        newspaper newspapers | Zeitung f Zeitungen
        story stories | Geschichte f Geschichten
        fairy_tale fairy_tales | Märchen n Märchen
    """,
    "thing": """
        key keys | Schlüssel m Schlüssel
        picture pictures | Bild n Bilder
        bag bags | Tasche f Taschen
        coffee_cup coffee_cups | Kaffeetasse f Kaffeetassen
    """,
    "clothing": """
        coat coats | Mantel m Mäntel
        hat hats | Hut m Hüte
        shirt shirts | Hemd n Hemden
    """,
    "device": """
        lamp lamps | Lampe f Lampen
        washing_machine washing_machines | Waschmaschine f Waschmaschinen
    """,
    "vehicle": """
        car cars | Auto n Autos
        boat boats | Boot n Boote
        train trains | Zug m Züge
        fire_engine fire_engines | Feuerwehrauto n Feuerwehrautos
    """,
    "food": """
        apple apples | Apfel m Äpfel
        egg eggs | Ei n Eier
        orange oranges | Orange f Orangen
        birthday_cake birthday_cakes | Geburtstagskuchen m Geburtstagskuchen
    """,
    "dish": """
        bread - | Brot n -
        rice - | Reis m -
        tomato_soup - | Tomatensuppe f -
    """,
    "drink": """
        coffee - | Kaffee m -
        tea - | Tee m -
        milk - | Milch f -
        water - | Wasser n -
        apple_juice - | Apfelsaft m -
    """,
    "part": """
        roof roofs | Dach n Dächer
        door doors | Tür f Türen
        window windows | Fenster n Fenster
    """,
    "inside": """
        garden - | Garten m -
        house - | Haus n -
        city - | Stadt f -
        school - | Schule f -
        church - | Kirche f -
        park - | Park m -
        kitchen - | Küche f -
        forest - | Wald m -
        museum - | Museum n -
    """,
    "island": """
        island - | Insel f -
    """,
    "market": "market - | Markt m -",
    "station": "train_station - | Bahnhof m -",
}
RELATIVES = {  # which relative clauses a set of nouns takes: as subject, accusative object or dative object
    "person": ("RelS", "RelS", "RelS", "RelA", "RelA", "RelD"),
    "animal": ("RelS", "RelA"),
    "text": ("RelA",),
    "thing": ("RelA",),
    "clothing": ("RelA",),
    "device": ("RelA",),
    "vehicle": ("RelA",),
    "food": ("RelA",),
}
GENITIVE = {"Haus": "Hauses", "Kirche": "Kirche", "Schule": "Schule", "Museum": "Museums"}
MASS = ("dish", "drink")

# --- adjectives: English | German stem before an ending, and alone; and the nouns they go with --------------------

ADJECTIVES = """
    old | alt | person kin animal text thing clothing device vehicle part inside island market station
    young | jung | person kin animal
    tall | groß | person kin
    friendly | freundlich | person animal
    tired | müd müde | person animal
    big | groß | animal thing vehicle food part inside island market station device
    small | klein | person animal thing vehicle food part inside island station device
    beautiful | schön | person animal text thing clothing inside island vehicle
    new | neu | text thing clothing device vehicle part inside station
    expensive | teur teuer | text thing clothing device vehicle food
    red | rot | thing clothing vehicle food part
    heavy | schwer | thing device vehicle food clothing
"""
COMPARATIVES = """
    older | älter | person animal vehicle thing
    younger | jünger | person animal kin
    bigger | größer | animal vehicle thing food
    smaller | kleiner | person animal vehicle thing food
    more_expensive | teurer | vehicle device clothing
    faster | schneller | animal vehicle vehicle
"""

# --- verbs: English base, 3rd person, past, participle | German infinitive, 3rd person, participle, auxiliary ------
# A German verb with a bar is separable, with its particle before the bar. A dash: no past (it looks like the present).
# Each group has its kind of complement, the sets of nouns that this may come from, and the sets of its subjects.

VERBS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], str]] = {
    "rest": (
        "none",
        (),
        ("person", "person", "animal"),
        """
        sleep sleeps slept slept | schlafen schläft geschlafen haben
        wake_up wakes_up woke_up woken_up | auf|wachen wacht aufgewacht sein
        come_back comes_back came_back come_back | zurück|kommen kommt zurückgekommen sein
        """,
    ),
    "act": (
        "none",
        (),
        ("person",),
        """
        laugh laughs laughed laughed | lachen lacht gelacht haben
        sing sings sang sung | singen singt gesungen haben
        arrive arrives arrived arrived | an|kommen kommt angekommen sein
        get_up gets_up got_up got_up | auf|stehen steht aufgestanden sein
        """,
    ),
    "stay": (
        "place",
        (),
        ("person",),
        """
        work works worked worked | arbeiten arbeitet gearbeitet haben
        wait waits waited waited | warten wartet gewartet haben
        """,
    ),
    "dwell": (
        "place",
        (),
        ("person",),
        """
        live lives lived lived | wohnen wohnt gewohnt haben
        """,
    ),
    "move": (
        "goal",
        (),
        ("person", "person", "animal"),
        """
        go goes went gone | gehen geht gegangen sein
        run runs ran run | laufen läuft gelaufen sein
        """,
    ),
    "travel": (
        "goal",
        (),
        ("person",),
        """
        drive drives drove driven | fahren fährt gefahren sein
        """,
    ),
    "read": (
        "accusative",
        ("text",),
        ("person",),
        """
        read reads - read | lesen liest gelesen haben
        write writes wrote written | schreiben schreibt geschrieben haben
        """,
    ),
    "trade": (
        "accusative",
        ("text", "thing", "clothing", "device", "vehicle", "food"),
        ("person",),
        """
        buy buys bought bought | kaufen kauft gekauft haben
        sell sells sold sold | verkaufen verkauft verkauft haben
        find finds found found | finden findet gefunden haben
        look_for looks_for looked_for looked_for | suchen sucht gesucht haben
        """,
    ),
    "own": (
        "accusative",
        ("text", "thing", "clothing"),
        ("person",),
        """
        lose loses lost lost | verlieren verliert verloren haben
        """,
    ),
    "mend": (
        "accusative",
        ("device", "vehicle", "part"),
        ("person",),
        """
        repair repairs repaired repaired | reparieren repariert repariert haben
        clean cleans cleaned cleaned | putzen putzt geputzt haben
        """,
    ),
    "switch": (
        "accusative",
        ("device",),
        ("person",),
        """
        turn_on turns_on turned_on turned_on | ein|schalten schaltet eingeschaltet haben
        """,
    ),
    "open": (
        "accusative",
        ("part",),
        ("person",),
        """
        open opens opened opened | öffnen öffnet geöffnet haben
        """,
    ),
    "eat": (
        "accusative",
        ("food", "dish"),
        ("person", "person", "person", "animal"),
        """
        eat eats ate eaten | essen isst gegessen haben
        """,
    ),
    "cook": (
        "accusative",
        ("dish", "food"),
        ("person",),
        """
        bring_along brings_along brought_along brought_along | mit|bringen bringt mitgebracht haben
        """,
    ),
    "drink": (
        "accusative",
        ("drink",),
        ("person",),
        """
        drink drinks drank drunk | trinken trinkt getrunken haben
        """,
    ),
    "meet": (
        "accusative",
        ("person", "kin"),
        ("person",),
        """
        call calls called called | an|rufen ruft angerufen haben
        invite invites invited invited | ein|laden lädt eingeladen haben
        visit visits visited visited | besuchen besucht besucht haben
        """,
    ),
    "see": (
        "accusative",
        ("person", "kin", "animal"),
        ("person", "person", "animal"),
        """
        see sees saw seen | sehen sieht gesehen haben
        """,
    ),
    "like": (
        "accusative",
        ("person", "kin", "animal"),
        ("person",),
        """
        love loves loved loved | lieben liebt geliebt haben
        """,
    ),
    "help": (
        "dative",
        ("person", "kin"),
        ("person",),
        """
        help helps helped helped | helfen hilft geholfen haben
        follow follows followed followed | folgen folgt gefolgt sein
        listen_to listens_to listened_to listened_to | zu|hören hört zugehört haben
        """,
    ),
    "think": (
        "preposition",
        ("person", "kin"),
        ("person",),
        """
        think_of thinks_of thought_of thought_of | denken denkt gedacht haben | an of accusative
        wait_for waits_for waited_for waited_for | warten wartet gewartet haben | auf for accusative
        talk_to talks_to talked_to talked_to | sprechen spricht gesprochen haben | mit to dative
        """,
    ),
    "give": (
        "ditransitive",
        ("text", "thing", "food"),
        ("person",),
        """
        give gives gave given | geben gibt gegeben haben
        show shows showed shown | zeigen zeigt gezeigt haben
        bring brings brought brought | bringen bringt gebracht haben
        """,
    ),
}
SAYING = """
    say says | sagen sagt
    believe believes | glauben glaubt
    hope hopes | hoffen hofft
    know knows | wissen weiß
"""
MODALS = (  # English | German 3rd person, plural; can it be negated ("must not" is not the negation of "must")
    ("can", "kann", "können", True),
    ("must", "muss", "müssen", False),
    ("should", "sollte", "sollten", True),
    ("will", "wird", "werden", True),
)
TIMES = {
    "present": "today | heute; now | jetzt; every~a day~b | jeden~a Tag~b; on~a Sunday~b | am~a Sonntag~b",
    "past": "yesterday | gestern; last~a week~b | letzte~a Woche~b; two~a days~b ago~c | vor~c zwei~a Tagen~b",
    "future": "tomorrow | morgen; tonight | heute Abend; on~a Monday~b | am~a Montag~b; soon | bald",
}
FREQUENCIES = "often | oft; always | immer; sometimes | manchmal"

# --- inflection ---------------------------------------------------------------------------------------------------

CASES = ("nominative", "accusative", "dative")
GENDERS = ("m", "f", "n", "pl")
DER = {"nominative": "der die das die", "accusative": "den die das die", "dative": "dem der dem den"}
DIES = {"nominative": "er e es e", "accusative": "en e es e", "dative": "em er em en"}
EIN = {"nominative": " |e||e", "accusative": "en|e||e", "dative": "em|er|em|en"}
WEAK = {"nominative": "e e e en", "accusative": "en e e en", "dative": "en en en en"}
MIXED = {"nominative": "er e es en", "accusative": "en e es en", "dative": "en en en en"}
RELATIVE = {"nominative": "der die das die", "accusative": "den die das die", "dative": "dem der dem denen"}
CONTRACTED = {"in dem": "im", "in das": "ins", "an dem": "am", "zu dem": "zum", "zu der": "zur", "von dem": "vom"}
POSSESSIVES = {"my": "mein", "his": "sein", "her": "ihr", "our": "unser"}
SUBJECTS = (("he", "er", "3"), ("she", "sie", "3"), ("they", "sie", "p"), ("we", "wir", "p"), ("I", "ich", "1"))
PRONOUNS = {"him": ("ihn", "ihm"), "her": ("sie", "ihr"), "them": ("sie", "ihnen"), "me": ("mich", "mir")}


def article(kind: str, case: str, gender: str) -> str:
    """The German determiner; kind is "der", "dies", "jed", or a word inflected like "ein"."""
    place = GENDERS.index(gender)
    if kind == "der":
        return DER[case].split()[place]
    if kind in ("dies", "jed"):
        return kind + DIES[case].split()[place]
    return kind + EIN[case].split("|")[place].strip()


def linked(english: str, german: str) -> tuple[str, str]:
    """Two expressions with the same meaning, all of whose words are linked with each other."""
    return " ".join(f"{w}~x" for w in english.split("_")), " ".join(f"{w}~x" for w in german.split())


@cache
def entries(text: str) -> list[list[list[str]]]:
    return [[part.split() for part in line.split(" | ")] for line in text.strip().splitlines()]
