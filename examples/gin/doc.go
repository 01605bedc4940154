// Package gin runs the example services on Gin and GORM: orders, which writes
// an order and its event in one transaction and relays the event to RabbitMQ,
// and notifications, which applies each event once. Each has its own database,
// on PostgreSQL or in a SQLite file.
//
// The services do what those of package stdlib do; what differs is the
// framework and the way to the database. Each has one pool, which GORM and the
// outbox or the inbox share: inside a GORM transaction tx.Statement.ConnPool is
// the *sql.Tx that both libraries ask for.
//
// They are plain values: NewOrders and NewNotifications check their settings,
// Run serves until its context ends and leaves nothing running. OrdersFromEnv
// and NotificationsFromEnv read the settings of programs.
package gin
