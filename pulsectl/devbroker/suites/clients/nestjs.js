#!/usr/bin/env node
// A NestJS microservice and its client over RabbitMQ, with NestJS's defaults: requests, errors, and events that are
// acknowledged by hand, returned, and limited by a prefetch.
require('reflect-metadata')
const { NestFactory } = require('@nestjs/core')
const { Module, Controller } = require('@nestjs/common')
const { ClientProxyFactory, Ctx, EventPattern, MessagePattern, Payload, RpcException, Transport } = require('@nestjs/microservices')
const { firstValueFrom, timeout } = require('rxjs')

const patience = 15000
let failures = 0
const check = (name, ok, seen) => {
  if (!ok) failures++
  console.log(ok ? `PASS ${name}` : `FAIL ${name}: ${seen instanceof Error ? seen.message : JSON.stringify(seen)}`)
}
const attempt = async (name, action, wanted) => {
  try {
    const value = await action()
    check(name, wanted(value), value)
  } catch (err) {
    check(name, false, err)
  }
}
const until = async (condition) => {
  for (const end = Date.now() + patience; Date.now() < end && !condition(); ) await new Promise((next) => setTimeout(next, 20))
  return condition()
}

const handled = new Set()
const redelivered = new Set()
let running = 0, most = 0

class Orders {
  total(amounts, context) {
    context.getChannelRef().ack(context.getMessage())
    return amounts.reduce((sum, amount) => sum + amount, 0)
  }

  refuse(_, context) {
    context.getChannelRef().ack(context.getMessage())
    throw new RpcException('refused')
  }

  async placed({ id }, context) {
    const channel = context.getChannelRef(), message = context.getMessage()
    most = Math.max(most, ++running)
    await new Promise((next) => setTimeout(next, 20))
    running--
    if (message.fields.redelivered) redelivered.add(id)
    if (id % 5 === 0 && !message.fields.redelivered) return channel.nack(message, false, true)
    handled.add(id)
    channel.ack(message)
  }
}
Controller()(Orders)
for (const [method, decorator] of [['total', MessagePattern({ cmd: 'total' })], ['refuse', MessagePattern('refuse')], ['placed', EventPattern('placed')]]) {
  decorator(Orders.prototype, method, Object.getOwnPropertyDescriptor(Orders.prototype, method))
  Payload()(Orders.prototype, method, 0)
  Ctx()(Orders.prototype, method, 1)
}
class App {}
Module({ controllers: [Orders] })(App)

async function main() {
  const options = { urls: [process.env.AMQP_URL], queue: `nestjs-${process.pid}`, queueOptions: { durable: true }, persistent: true }
  const app = await NestFactory.createMicroservice(App, { transport: Transport.RMQ, options: { ...options, noAck: false, prefetchCount: 2 }, logger: false })
  await app.listen()
  const client = ClientProxyFactory.create({ transport: Transport.RMQ, options })
  const send = (pattern, data) => firstValueFrom(client.send(pattern, data).pipe(timeout(patience)))
  await attempt('connect', () => Promise.race([client.connect().then(() => true), new Promise((_, fail) => setTimeout(() => fail(new Error('connect() never ends')), patience))]), Boolean)
  await attempt('request', () => send({ cmd: 'total' }, [1, 2, 3]), (sum) => sum === 6)
  await attempt('100 requests at once', () => Promise.all(Array.from({ length: 100 }, (_, i) => send({ cmd: 'total' }, [i, i]))),
    (sums) => sums.every((sum, i) => sum === 2 * i))
  await attempt('error', () => send('refuse', {}).then(() => 'no error', (err) => err.message || err), (reason) => reason === 'refused')
  await attempt('emit', async () => { for (let id = 1; id <= 30; id++) await firstValueFrom(client.emit('placed', { id }).pipe(timeout(patience))); return true }, Boolean)
  check('all events handled', await until(() => handled.size === 30), handled.size)
  check('returned events redelivered', [5, 10, 15, 20, 25, 30].every((id) => redelivered.has(id)), [...redelivered])
  check('prefetch', most === 2, most)
  await client.close()
  await app.close()
}
process.on('unhandledRejection', () => {})
main().catch((err) => check('run', false, err)).finally(() => process.exit(failures ? 1 : 0))
