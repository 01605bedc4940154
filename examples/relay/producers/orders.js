#!/usr/bin/env node
// Changes orders, each with the event that tells of it, in one transaction: orders.js PREFIX COUNT
//
// Needs pg from npm. Prints the ids of the events that were committed.
const { randomUUID } = require('node:crypto')
const { Client } = require('pg')

// Changes an order in the transaction that client has begun, and returns the id of its event.
async function changeOrder(client, orderId, correlationId) {
  // Locks the order until the end of the transaction: events of one order get their place in the order of commits.
  const changed = await client.query(
    'INSERT INTO orders (id, version) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET version = orders.version + 1 RETURNING version',
    [orderId])
  const eventId = randomUUID() // or v7() of the package uuid
  const event = { eventId, orderId, version: changed.rows[0].version, note: 'a\\b\nü' }
  await client.query(
    'INSERT INTO outbox_messages (id, topic, type, key, payload, headers, correlation_id) VALUES ($1, $2, $3, $4, $5, $6, $7)',
    // A Buffer, not a string: a text would be read as bytea's escape format.
    [eventId, 'order.changed', 'OrderChanged', orderId, Buffer.from(JSON.stringify(event)), { tenant: 'acme' }, correlationId])
  return eventId
}

async function main() {
  const [prefix, count] = [process.argv[2], Number(process.argv[3])]
  const client = new Client({ connectionString: process.env.PULSE_OUTBOX_DB })
  await client.connect()
  for (let n = 0; n < count; n++) {
    const orderId = `${prefix}-${n % 7}`
    await client.query('BEGIN')
    const eventId = await changeOrder(client, orderId, `checkout-${orderId}`)
    if (n % 3 === 2) {
      await client.query('ROLLBACK')
      continue
    }
    await client.query('COMMIT')
    console.log(eventId)
  }
  await client.end()
}

main().catch((err) => { console.error(err); process.exit(1) })
