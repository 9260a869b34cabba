"""The rows of the shop: one INSERT … SELECT per table, run inside the server.

Every value is a function of (seed, table, row number): six hexadecimal digits of a SHA-256 stand for one random
number. So the same seed and scale always give the same rows, on any server and in any order.
"""

from collections.abc import Sequence

from pymysql.converters import escape_string

# What breaks copies and streams that are careless with text.
AWKWARD_TEXTS = (
    "plain words",
    "tab\there, newline\nthere, carriage return\r\nthere",
    "back\\slash, \\N that is not NULL, \\x41 that is not A",
    "quotes: ' \" ` and a comma, semicolon; percent % and _",
    "emoji 🎁👩‍👩‍👧‍👦🇪🇺, accents àéîõü, Ελληνικά, עברית, 日本語, combined e\u0301",
    "trailing spaces   ",
    " ",
    "",
)
_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Giorgos", "Hana", "Ines", "João", "Kemal", "Łucja",
          "Mary Ann", "Noël", "Olu", "Priya")
_LAST = ("Almeida", "Brontë", "Çelik", "D'Angelo", "Eriksson", "Fischer", "García", "Haddad", "Ivanova", "Jensen",
         "Kovács", "Lindqvist", "Müller", "O'Brien", "Papadopoulos", "Šimić")
_STREETS = ("Harbour Road", "Rue de l'Église", "Große Straße", "Calle Mayor", "Ulica Długa", "Main St.", "東通り")
_CITIES = ("Lisboa", "København", "Kraków", "Zürich", "Αθήνα", "Málaga", "Dublin", "Genève")
_COUNTRIES = ("PT", "DK", "PL", "CH", "GR", "ES", "IE")
_WORDS = ("Oak", "Brass", "Linen", "Slate", "Copper", "Walnut", "Felt", "Glass")
_THINGS = ("lamp", "kettle", "chair", "notebook", "bowl", "clock", "basket", "mirror", "rug", "shelf")
_REVIEWS = ("Love it 😍", "Broke after two days 😡\nRefund please.", "Très joli, merci !", "ok", "5/5 👍👍\tagain",
            "C:\\temp is where I keep it", "Not as pictured; see \"photo\"", "とても良い")
_PATHS = ("/", "/search?q=lamp&page=2", "/products/17", "/cart", "/checkout", "/help/returns#how")

WAREHOUSES = ("LIS", "CPH", "ZRH")
FIRST_DAY = "2023-01-01"
_SPAN_MICROSECONDS = 900 * 86_400 * 1_000_000

def row_counts(scale: float) -> dict[str, int]:
    """How many numbers each table's rows are made from; `order_items` has one to four rows per order.

    A scale of 1 gives about 470,000 rows.
    """

    def scaled(count: int, least: int = 1) -> int:
        return max(least, round(count * scale))

    return {
        "customers": scaled(20_000, 20),
        "addresses": scaled(28_000, 20),
        "categories": 40,
        "products": scaled(2_000, 20),
        "inventory": scaled(2_000, 20),
        "orders": scaled(60_000, 20),
        "order_items": scaled(60_000, 20),
        "payments": scaled(60_000, 20),
        "shipments": scaled(60_000, 20),
        "reviews": scaled(16_000, 20),
        "page_views": scaled(80_000, 20),
    }


def insert_statements(seed: int, scale: float) -> dict[str, str]:
    """The statement that fills each table, in an order that foreign keys allow.

    They read a table `numbers(n)` that holds 1, 2, 3, …
    """
    counts = row_counts(scale)
    customers, products = counts["customers"], counts["products"]

    def choose(digits: int, values: Sequence[str]) -> str:
        return f"ELT(1 + {_below(digits, len(values))}, {', '.join(_literal(v) for v in values)})"

    def rows(table: str) -> str:
        # LIMIT keeps the server from merging the subquery and computing the hash once per use.
        return (f"(SELECT n, SHA2(CONCAT({_literal(f'{seed}:{table}:')}, n), 256) AS h FROM numbers "
                f"WHERE n <= {counts[table]} ORDER BY n LIMIT {counts[table]}) AS r")

    # The awkward ones are rare, as in life, but each occurs in any shop of some hundred rows.
    awkward = f"CASE WHEN {_below(8, 4)} = 0 THEN {choose(9, AWKWARD_TEXTS)} END"
    return {
        "categories": f"""
            INSERT INTO categories (id, parent_id, name, slug)
            SELECT n, IF(n <= 8, NULL, 1 + MOD(n, 8)), CONCAT({choose(0, _WORDS)}, ' & ', {choose(1, _THINGS)}, ' ', n),
                   CONCAT('category-', n)
            FROM {rows('categories')}""",
        "customers": f"""
            INSERT INTO customers (id, email, full_name, phone, birth_date, newsletter, tags, notes, created_at,
                                   updated_at)
            SELECT n, CONCAT('customer', n, '@mail.example'), CONCAT({choose(0, _FIRST)}, ' ', {choose(1, _LAST)}),
                   IF({_below(2, 3)} = 0, NULL, CONCAT('+351 9', {_below(3, 100_000_000)})),
                   IF({_below(4, 5)} = 0, NULL, DATE('1940-01-01') + INTERVAL {_below(5, 24_000)} DAY),
                   {_below(6, 2)}, {choose(7, ('', '', '', 'vip', 'vip,wholesale', 'staff'))}, {awkward},
                   {_moment(0)}, {_moment(0)} + INTERVAL {_below(3, 1_000_000)} SECOND
            FROM {rows('customers')}""",
        "addresses": f"""
            INSERT INTO addresses (id, customer_id, street, city, postcode, country, latitude, longitude, is_default)
            SELECT n, 1 + MOD(n - 1, {customers}), CONCAT({choose(0, _STREETS)}, ' ', {_below(1, 200)}),
                   {choose(2, _CITIES)}, LPAD({_below(3, 100_000)}, 5, '0'), {choose(4, _COUNTRIES)},
                   IF({_below(5, 4)} = 0, NULL, 35 + {_below(6, 250_000)} / 10000e0),
                   IF({_below(5, 4)} = 0, NULL, -9 + {_below(7, 380_000)} / 10000e0), n <= {customers}
            FROM {rows('addresses')}""",
        "products": f"""
            INSERT INTO products (id, category_id, sku, title, description, price, weight_kg, score, attributes,
                                  status, image_hash, released, created_at)
            SELECT n, 1 + {_below(0, counts['categories'])}, CONCAT('SKU-', LPAD(n, 8, '0')),
                   CONCAT({choose(1, _WORDS)}, ' ', {choose(2, _THINGS)}), {awkward}, {_below(3, 50_000)} / 100,
                   IF({_below(4, 6)} = 0, NULL, {_below(4, 20_000)} / 1000), IF({_below(5, 5)} = 0, NULL,
                   {_below(5, 500)} / 100e0), IF({_below(6, 10)} = 0, NULL, JSON_OBJECT(
                       'colour', {choose(1, _WORDS)}, 'sizes', JSON_ARRAY({_below(6, 40)}, {_below(7, 40)}),
                       'box', JSON_OBJECT('w', {_below(3, 900)} / 10, 'h', {_below(4, 90)}), 'note', {awkward})),
                   {choose(7, ('active', 'active', 'active', 'draft', 'retired'))},
                   IF({_below(7, 8)} = 0, NULL, UNHEX(SUBSTR(h, 1, 40))), IF({_below(2, 4)} = 0, NULL,
                   1990 + {_below(2, 35)}), {_moment(0)}
            FROM {rows('products')}""",
        "inventory": f"""
            INSERT INTO inventory (product_id, warehouse, quantity, reserved, counted_at)
            SELECT n, warehouse, CAST({_below(0, 1_000)} AS SIGNED) - 50, {_below(1, 20)},
                   IF({_below(2, 3)} = 0, NULL, DATE('{FIRST_DAY}') + INTERVAL {_below(3, 77_000_000)} SECOND)
            FROM {rows('inventory')}
            CROSS JOIN ({' UNION ALL '.join(f"SELECT {_literal(w)} AS warehouse" for w in WAREHOUSES)}) AS w""",
        "orders": f"""
            INSERT INTO orders (id, customer_id, address_id, status, flags, currency, discount, note, placed_at)
            SELECT n, 1 + {_below(0, customers)}, IF({_below(1, 10)} = 0, NULL, 1 + {_below(1, counts['addresses'])}),
                   {choose(2, ('new', 'paid', 'packed', 'sent', 'delivered', 'delivered', 'cancelled'))},
                   {choose(3, ('', '', '', 'gift', 'express', 'gift,express', 'fragile,insured'))},
                   {choose(4, ('EUR', 'EUR', 'EUR', 'DKK', 'CHF'))},
                   IF({_below(5, 3)} > 0, NULL, {_below(5, 2_500)} / 100), {awkward}, {_moment(0)}
            FROM {rows('orders')}""",
        "order_items": f"""
            INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price, engraving)
            SELECT n, line_no, 1 + MOD({_random(0)} + line_no * 37, {products}), 1 + MOD({_random(1)} + line_no, 5),
                   MOD({_random(2)} + line_no * 911, 50000) / 100, IF(line_no = 1, {awkward}, NULL)
            FROM {rows('order_items')}
            JOIN (SELECT 1 AS line_no UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) AS l
                ON line_no <= 1 + {_below(3, 4)}""",
        "payments": f"""
            INSERT INTO payments (id, order_id, method, amount, reference, receipt, paid_at)
            SELECT n, n, {choose(0, ('card', 'card', 'transfer', 'voucher', 'cash'))}, {_below(1, 5_000_000)} / 100,
                   UNHEX(SUBSTR(h, 33, 32)), IF({_below(2, 3)} = 0, NULL, JSON_OBJECT('terminal', {_below(2, 90)},
                   'approved', {_below(3, 2)}, 'by', {choose(4, _FIRST)})),
                   IF({_below(3, 20)} = 0, NULL, DATE('{FIRST_DAY}') + INTERVAL {_below(1, 77_000_000)} SECOND
                   + INTERVAL {_below(2, 1000)} * 1000 MICROSECOND)
            FROM {rows('payments')} WHERE {_below(5, 20)} > 0""",
        "shipments": f"""
            INSERT INTO shipments (id, order_id, carrier, tracking, weight_kg, pickup_after, sent_at, delivered_at)
            SELECT n, n, {choose(0, ('DHL', 'PostNord', 'CTT', 'Swiss Post'))},
                   IF({_below(1, 6)} = 0, NULL, UPPER(SUBSTR(h, 10, 18))), {_below(2, 300_000)} / 1000,
                   IF({_below(3, 2)} = 0, NULL, SEC_TO_TIME({_below(3, 86_400)})),
                   DATE('{FIRST_DAY}') + INTERVAL {_below(4, 70_000_000)} SECOND,
                   IF({_below(5, 4)} = 0, NULL, DATE('{FIRST_DAY}') + INTERVAL 70000000 + {_below(4, 900_000)} SECOND)
            FROM {rows('shipments')} WHERE {_below(6, 4)} > 0""",
        "reviews": f"""
            INSERT INTO reviews (id, product_id, customer_id, rating, title, body, created_at)
            SELECT n, 1 + {_below(0, products)}, IF({_below(1, 9)} = 0, NULL, 1 + {_below(1, customers)}),
                   1 + {_below(2, 5)}, {awkward}, CONCAT({choose(3, _REVIEWS)}, ' ',
                   REPEAT({choose(4, _REVIEWS)}, {_below(5, 6)})), {_moment(0)}
            FROM {rows('reviews')}""",
        "page_views": f"""
            INSERT INTO page_views (session, customer_id, path, referrer, duration_ms, viewed_at)
            SELECT SUBSTR(h, 1, 16), IF({_below(3, 3)} = 0, NULL, 1 + {_below(4, customers)}), {choose(5, _PATHS)},
                   IF({_below(6, 2)} = 0, NULL, {choose(7, _PATHS)}), IF({_below(8, 5)} = 0, NULL, {_below(8, 90_000)}),
                   DATE('{FIRST_DAY}') + INTERVAL {_below(9, 77_000_000)} SECOND + INTERVAL {_below(1, 1000)} * 1000
                   MICROSECOND
            FROM {rows('page_views')}""",
    }  # fmt: skip


def _literal(text: str) -> str:
    return f"'{escape_string(text)}'"


def _random(digits: int) -> str:
    """The row's random number of place `digits` (0 to 9): 0 to 16,777,215."""
    return f"CAST(CONV(SUBSTR(h, {1 + 6 * digits}, 6), 16, 10) AS UNSIGNED)"


def _below(digits: int, bound: int) -> str:
    """A random number from 0 to `bound` - 1; above 16,777,216 the steps get coarse."""
    if bound > 1 << 24:
        return f"({_random(digits)} * {bound >> 24})"
    return f"MOD({_random(digits)}, {bound})"


def _moment(digits: int) -> str:
    """A random moment with microseconds, of twelve digits."""
    wide = f"CAST(CONV(SUBSTR(h, {1 + 6 * digits}, 12), 16, 10) AS UNSIGNED)"
    return f"(CAST('{FIRST_DAY}' AS DATETIME(6)) + INTERVAL MOD({wide}, {_SPAN_MICROSECONDS}) MICROSECOND)"
