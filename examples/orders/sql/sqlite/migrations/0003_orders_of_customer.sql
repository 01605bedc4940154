-- A caller that acts for one customer lists that customer's orders, the newest
-- first.
CREATE INDEX orders_newest_of_customer ON orders (customer_id, created_at DESC, id DESC);
