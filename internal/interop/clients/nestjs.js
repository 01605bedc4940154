#!/usr/bin/env node
// A NestJS service with NestJS's defaults. It prints each event that it receives on RECEIVE_QUEUE as a line of JSON, and emits
// events to SEND_QUEUE. It ends with its standard input.
require('reflect-metadata')
const { NestFactory } = require('@nestjs/core')
const { Module, Controller } = require('@nestjs/common')
const { ClientProxyFactory, Ctx, EventPattern, Payload, RmqRecordBuilder, Transport } = require('@nestjs/microservices')
const { lastValueFrom } = require('rxjs')

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')

class Orders {
  created(data, context) {
    const { properties } = context.getMessage()
    const { messageId, correlationId, type, appId, headers } = properties
    print({ received: { pattern: context.getPattern(), data, messageId, correlationId, type, appId, headers } })
    context.getChannelRef().ack(context.getMessage())
  }
}
Controller()(Orders)
EventPattern('order.created')(Orders.prototype, 'created', Object.getOwnPropertyDescriptor(Orders.prototype, 'created'))
Payload()(Orders.prototype, 'created', 0)
Ctx()(Orders.prototype, 'created', 1)
class App {}
Module({ controllers: [Orders] })(App)

async function main() {
  const urls = [process.env.AMQP_URL]
  const app = await NestFactory.createMicroservice(App, {
    transport: Transport.RMQ, options: { urls, queue: process.env.RECEIVE_QUEUE, noAck: false, queueOptions: { durable: true } }, logger: false,
  })
  await app.listen()
  // The queue is the consumer's to declare, with its arguments.
  const client = ClientProxyFactory.create({ transport: Transport.RMQ, options: { urls, queue: process.env.SEND_QUEUE, noAssert: true, persistent: true } })
  await client.connect()
  const record = new RmqRecordBuilder({ left: 3 })
    .setOptions({ messageId: 'n1', headers: { 'x-correlation-id': 'c7', tenant: 'acme' } }).build()
  const byHeader = new RmqRecordBuilder({ left: 4 }).setOptions({ headers: { 'x-event-id': 'n4' } }).build()
  for (const [pattern, data] of [
    ['stock.changed', record], ['stock.changed', record], // twice, with the id that it was given
    ['stock.counted', { id: 'n2', text: 'größe <b>' }], ['stock.counted', { id: 'n2', text: 'größe <b>' }], // with one of its own
    [{ cmd: 'recount' }, { id: 'n3' }],
    ['stock.changed', byHeader], ['stock.changed', byHeader],
  ]) await lastValueFrom(client.emit(pattern, data))
  print({ ready: true })
  process.stdin.resume()
  await new Promise((end) => process.stdin.on('end', end))
  await client.close()
  await app.close()
}
main().then(() => process.exit(0), (err) => { console.error(err); process.exit(1) })
