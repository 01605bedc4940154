#!/usr/bin/env node
// Reads and writes events with the CloudEvents SDK. It prints each event that it receives on RECEIVE_QUEUE as a line of JSON, and
// sends events to SEND_QUEUE. It ends with its standard input.
//
// The SDK binds events to HTTP, and not to AMQP: what it reads and writes in headers "ce-name" lies in "cloudEvents:name" there.
const amqplib = require('amqplib')
const { CloudEvent, HTTP } = require('cloudevents')

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function read({ content, properties }) {
  const headers = { 'content-type': properties.contentType }
  for (const [name, value] of Object.entries(properties.headers)) {
    if (name.startsWith('cloudEvents:')) headers['ce-' + name.slice('cloudEvents:'.length)] = value
  }
  const event = HTTP.toEvent({ headers, body: content.toString() })
  event.validate()
  return { event: event.toJSON(), messageId: properties.messageId, structured: properties.contentType.startsWith('application/cloudevents') }
}

async function main() {
  const connection = await amqplib.connect(process.env.AMQP_URL)
  const channel = await connection.createConfirmChannel()
  await channel.consume(process.env.RECEIVE_QUEUE, (message) => {
    print({ received: read(message) })
    channel.ack(message)
  })
  const send = (body, contentType, headers) => channel.publish('', process.env.SEND_QUEUE, Buffer.from(body), { contentType, headers, persistent: true })
  const binary = (event, prefix) => {
    const { headers, body } = HTTP.binary(event)
    const attributes = {}
    for (const [name, value] of Object.entries(headers)) if (name.startsWith('ce-')) attributes[prefix + name.slice(3)] = value
    send(body, headers['content-type'], attributes)
  }
  const structured = (event) => {
    const { headers, body } = HTTP.structured(event)
    send(body, headers['content-type'], {})
  }
  // One event in three forms, and others of the same id or the same source.
  const paid = { id: '1', source: '/shop', type: 'com.example.paid', time: '2026-03-01T12:00:00.250Z', subject: 'order-7',
    datacontenttype: 'application/json', partitionkey: 'order-7', correlationid: 'c9', causationid: 'e0', data: { amount: 7, text: 'größe <b>' } }
  structured(new CloudEvent(paid))
  binary(new CloudEvent(paid), 'cloudEvents:')
  binary(new CloudEvent(paid), 'cloudEvents_')
  structured(new CloudEvent({ ...paid, source: '/shop-2' }))
  binary(new CloudEvent({ ...paid, id: '2' }), 'cloudEvents:')
  await channel.waitForConfirms()
  print({ ready: true })
  process.stdin.resume()
  await new Promise((end) => process.stdin.on('end', end))
  await connection.close()
}
main().then(() => process.exit(0), (err) => { console.error(err); process.exit(1) })
