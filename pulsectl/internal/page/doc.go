// Package page is the web page: what an operator needs to see, and may change, of
// an outbox, an inbox and the queues between them. Package ui offers it to users'
// services; the commands ui and up serve it.
//
// Every screen is HTML made here, and works without JavaScript; its state is in
// its URL. With JavaScript the overview is live: htmx swaps in what a stream of
// server-sent events brings. The page reads through the packages that commands
// use, so both say the same.
package page
