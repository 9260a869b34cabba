"""The tables of the shop: keys of every kind, foreign keys, one table without a key, and the types people use.

The statements hold on MySQL 8 and later and on MariaDB 10.11. No foreign key cascades: MariaDB and older MySQL
servers do not log what a cascade does to the child rows.
"""

TABLES: dict[str, str] = {
    "customers": """
        CREATE TABLE customers (
            id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            email       VARCHAR(190) NOT NULL UNIQUE,
            full_name   VARCHAR(120) NOT NULL,
            phone       VARCHAR(32) NULL,
            birth_date  DATE NULL,
            newsletter  TINYINT(1) NOT NULL DEFAULT 0,
            tags        SET('vip','wholesale','staff') NOT NULL DEFAULT '',
            notes       TEXT NULL,
            created_at  DATETIME(6) NOT NULL,
            updated_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
        )""",
    "addresses": """
        CREATE TABLE addresses (
            id          INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            customer_id BIGINT UNSIGNED NOT NULL,
            street      VARCHAR(160) NOT NULL,
            city        VARCHAR(80) NOT NULL,
            postcode    VARCHAR(12) NOT NULL,
            country     CHAR(2) NOT NULL,
            latitude    DOUBLE NULL,
            longitude   DOUBLE NULL,
            is_default  TINYINT(1) NOT NULL DEFAULT 0,
            FOREIGN KEY (customer_id) REFERENCES customers (id)
        )""",
    "categories": """
        CREATE TABLE categories (
            id          SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
            parent_id   SMALLINT UNSIGNED NULL,
            name        VARCHAR(80) NOT NULL,
            slug        VARCHAR(80) NOT NULL UNIQUE,
            FOREIGN KEY (parent_id) REFERENCES categories (id)
        )""",
    "products": """
        CREATE TABLE products (
            id          INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            category_id SMALLINT UNSIGNED NOT NULL,
            sku         CHAR(12) NOT NULL UNIQUE,
            title       VARCHAR(200) NOT NULL,
            description TEXT NULL,
            price       DECIMAL(10,2) NOT NULL,
            weight_kg   DECIMAL(8,3) NULL,
            score       DOUBLE NULL,
            attributes  JSON NULL,
            status      ENUM('draft','active','retired') NOT NULL DEFAULT 'draft',
            image_hash  VARBINARY(32) NULL,
            released    YEAR NULL,
            created_at  DATETIME(6) NOT NULL,
            FOREIGN KEY (category_id) REFERENCES categories (id)
        )""",
    "inventory": """
        CREATE TABLE inventory (
            product_id  INT UNSIGNED NOT NULL,
            warehouse   CHAR(3) NOT NULL,
            quantity    INT NOT NULL,
            reserved    INT UNSIGNED NOT NULL DEFAULT 0,
            counted_at  TIMESTAMP NULL,
            PRIMARY KEY (product_id, warehouse),
            FOREIGN KEY (product_id) REFERENCES products (id)
        )""",
    "orders": """
        CREATE TABLE orders (
            id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            customer_id BIGINT UNSIGNED NOT NULL,
            address_id  INT UNSIGNED NULL,
            status      ENUM('new','paid','packed','sent','delivered','cancelled') NOT NULL DEFAULT 'new',
            flags       SET('gift','express','fragile','insured') NOT NULL DEFAULT '',
            currency    CHAR(3) NOT NULL DEFAULT 'EUR',
            discount    DECIMAL(5,2) NULL,
            note        VARCHAR(500) NULL,
            placed_at   DATETIME(6) NOT NULL,
            KEY (placed_at),
            FOREIGN KEY (customer_id) REFERENCES customers (id),
            FOREIGN KEY (address_id) REFERENCES addresses (id)
        )""",
    "order_items": """
        CREATE TABLE order_items (
            order_id    BIGINT UNSIGNED NOT NULL,
            line_no     SMALLINT UNSIGNED NOT NULL,
            product_id  INT UNSIGNED NOT NULL,
            quantity    SMALLINT UNSIGNED NOT NULL,
            unit_price  DECIMAL(10,2) NOT NULL,
            engraving   VARCHAR(120) NULL,
            PRIMARY KEY (order_id, line_no),
            FOREIGN KEY (order_id) REFERENCES orders (id),
            FOREIGN KEY (product_id) REFERENCES products (id)
        )""",
    "payments": """
        CREATE TABLE payments (
            id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            order_id    BIGINT UNSIGNED NOT NULL,
            method      ENUM('card','transfer','voucher','cash') NOT NULL,
            amount      DECIMAL(12,2) NOT NULL,
            reference   BINARY(16) NOT NULL UNIQUE,
            receipt     JSON NULL,
            paid_at     TIMESTAMP(3) NULL,
            FOREIGN KEY (order_id) REFERENCES orders (id)
        )""",
    "shipments": """
        CREATE TABLE shipments (
            id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
            order_id     BIGINT UNSIGNED NOT NULL,
            carrier      VARCHAR(40) NOT NULL,
            tracking     VARCHAR(64) NULL,
            weight_kg    DECIMAL(8,3) NOT NULL,
            pickup_after TIME NULL,
            sent_at      DATETIME NULL,
            delivered_at DATETIME NULL,
            FOREIGN KEY (order_id) REFERENCES orders (id)
        )""",
    "reviews": """
        CREATE TABLE reviews (
            id          INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            product_id  INT UNSIGNED NOT NULL,
            customer_id BIGINT UNSIGNED NULL,
            rating      TINYINT UNSIGNED NOT NULL,
            title       VARCHAR(200) NULL,
            body        MEDIUMTEXT NOT NULL,
            created_at  DATETIME(6) NOT NULL,
            FOREIGN KEY (product_id) REFERENCES products (id),
            FOREIGN KEY (customer_id) REFERENCES customers (id)
        )""",
    "page_views": """
        CREATE TABLE page_views (
            session     CHAR(16) NOT NULL,
            customer_id BIGINT UNSIGNED NULL,
            path        VARCHAR(255) NOT NULL,
            referrer    VARCHAR(255) NULL,
            duration_ms INT UNSIGNED NULL,
            viewed_at   TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            KEY (viewed_at)
        )""",
}
