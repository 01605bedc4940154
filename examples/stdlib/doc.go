// Package stdlib runs the example services on net/http and sqlx: orders,
// which writes an order and its event in one transaction and relays the event
// to RabbitMQ, and notifications, which applies each event once. Each has its
// own database, on PostgreSQL or in a SQLite file.
//
// The services are plain values: NewOrders and NewNotifications check their
// settings, Run serves until its context ends and leaves nothing running.
// OrdersFromEnv and NotificationsFromEnv read the settings of programs.
package stdlib
