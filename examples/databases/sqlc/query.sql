-- name: InsertOrder :exec
INSERT INTO orders (id, customer_id, amount_cents) VALUES ($1, $2, $3);

-- name: InsertNotification :exec
INSERT INTO notifications (id, event_id, order_id, customer_id) VALUES ($1, $2, $3, $4);

-- name: CountNotifications :one
SELECT count(*) FROM notifications WHERE order_id = $1;
