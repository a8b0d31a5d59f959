// kafkajs, behind the commands of README.md.
'use strict'
const path = require('path')
const modules = path.join(process.env.CAIRN_INTEROP_KAFKAJS, 'node_modules')
const { Kafka, logLevel, CompressionTypes, CompressionCodecs, ConfigResourceTypes } = require(path.join(modules, 'kafkajs'))
CompressionCodecs[CompressionTypes.Snappy] = require(path.join(modules, 'kafkajs-snappy'))

const KEYS = 23
const PADDING = '0123456789abcdefghijklmnopqrstuvwxyz'.repeat(3)
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const BATCH = 50

const say = what => process.stdout.write(JSON.stringify(what) + '\n')
const now = () => Number(process.hrtime.bigint()) / 1e9 // CLOCK_MONOTONIC, as in the other programs
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const kafka = a => new Kafka({ clientId: 'interop', brokers: a.bootstrap.split(','), logLevel: logLevel.NOTHING, connectionTimeout: 20000,
                               retry: { retries: 100, initialRetryTime: 100, maxRetryTime: 1000 } })

const record = i => ({ key: `k${i % KEYS}`, value: `${i}:${PADDING.slice(0, i % 100)}`,
                       headers: { n: `${i}`, bytes: Buffer.from([0x00, 0xff, 0x80]) } })

async function until(condition) {
  for (let i = 0; i < 300; i++) {
    if (await condition()) return true
    await sleep(100)
  }
  return false
}

const commands = {
  async produce(a) {
    const producer = kafka(a).producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    const begin = Date.now()
    const [first, count, rate] = [Number(a.first), Number(a.count), Number(a.rate)]
    let stop = false
    process.on('SIGTERM', () => { stop = true })
    for (let n = 0; n < count && !stop; n += BATCH) {
      const numbers = Array.from({ length: Math.min(BATCH, count - n) }, (_, k) => first + n + k)
      try {
        for (let k = 0; k < KEYS; k++) {
          // One partition a send. With more, kafkajs 2.2.4 retries wrongly when leaders move: what belongs to a broker that has
          // answered for other partitions already is never sent, and send() succeeds (responsePerBroker in sendMessages.js).
          const ours = numbers.filter(i => i % KEYS === k)
          if (ours.length === 0) continue
          await producer.send({ topic: a.topic, acks: -1, compression: CODECS[a.codec], messages: ours.map(record) })
          for (const i of ours) say({ ack: i })
        }
      } catch (e) {
        say({ error: String(e), i: first + n })
      }
      if (rate) await sleep(Math.max(0, n / rate * 1000 - (Date.now() - begin)))
    }
    await producer.disconnect()
    say({ unsent: 0 })
  },

  async consume(a) {
    const consumer = kafka(a).consumer({ groupId: a.group, sessionTimeout: 15000, heartbeatInterval: 500,
                                         rebalanceTimeout: 15000, maxWaitTimeInMs: 200 })
    const count = Number(a.count)
    let seen = 0
    let end
    const ended = new Promise(resolve => { end = resolve })
    process.on('SIGTERM', end)
    consumer.on(consumer.events.GROUP_JOIN, e =>
      say({ assigned: (e.payload.memberAssignment[a.topic] || []).sort((x, y) => x - y), t: now() }))
    // kafkajs itself commits when it is told of a rebalance, and behind each batch.
    consumer.on(consumer.events.COMMIT_OFFSETS, e =>
      say({ committed: Object.fromEntries(e.payload.topics[0].partitions.map(p => [p.partition, Number(p.offset)])), t: now() }))
    consumer.on(consumer.events.REBALANCING, () => say({ revoked: [] }))
    await consumer.connect()
    await consumer.subscribe({ topics: [a.topic], fromBeginning: true })
    await consumer.run({
      autoCommitThreshold: 100,
      autoCommitInterval: 500,
      eachMessage: async ({ partition, message }) => {
        const h = []
        for (const [name, data] of Object.entries(message.headers)) h.push([name, data.toString('hex')])
        say({ p: partition, o: Number(message.offset), k: message.key.toString(), v: message.value.toString(), h })
        seen++
        if (count && seen >= count) end()
      }
    })
    await ended
    await consumer.disconnect()
  },

  async offsets(a) {
    const admin = kafka(a).admin()
    await admin.connect()
    const watermarks = await admin.fetchTopicOffsets(a.topic)
    const at = await admin.fetchTopicOffsetsByTimestamp(a.topic, Number(a.time_ms))
    for (const w of watermarks.sort((x, y) => x.partition - y.partition)) {
      const found = at.find(o => o.partition === w.partition)
      say({ p: w.partition, low: Number(w.low), high: Number(w.high), at: Number(found.offset) })
    }
    await admin.disconnect()
  },

  async admin(a) {
    const admin = kafka(a).admin()
    const resource = { type: ConfigResourceTypes.TOPIC, name: a.topic }
    const configs = async which => {
      const answer = await admin.describeConfigs({ includeSynonyms: false, resources: [which] })
      return Object.fromEntries(answer.resources[0].configEntries.map(e => [e.configName, e.configValue]))
    }
    await admin.connect()
    const topics = [{ topic: a.topic, numPartitions: 3, replicationFactor: 3,
                      configEntries: [{ name: 'retention.ms', value: '3600000' }] }]
    say({ created: await admin.createTopics({ topics, waitForLeaders: true }) })
    say(await admin.createTopics({ topics }) ? { created_twice: true } : { again: 'TOPIC_ALREADY_EXISTS' })
    const before = await configs(resource)
    say({ retention: before['retention.ms'], cleanup: before['cleanup.policy'] })
    await admin.alterConfigs({ validateOnly: false,
                               resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '7200000' }] }] })
    say({ retention_after: (await configs(resource))['retention.ms'] })
    const cluster = await admin.describeCluster()
    const broker = await configs({ type: ConfigResourceTypes.BROKER, name: String(cluster.brokers[0].nodeId) })
    say({ broker_configs: Object.keys(broker).length })
    await admin.createPartitions({ topicPartitions: [{ topic: a.topic, count: 5 }] })
    let partitions = 0
    await until(async () => {
      const answer = await admin.fetchTopicMetadata({ topics: [a.topic] })
      partitions = answer.topics[0].partitions.length
      return partitions === 5
    })
    say({ partitions })
    await admin.deleteTopics({ topics: [a.topic] })
    say({ there: !await until(async () => !(await admin.listTopics()).includes(a.topic)) })
    await admin.disconnect()
  },

  async version() {
    say({ version: require(path.join(modules, 'kafkajs/package.json')).version })
  }
}

const args = Object.fromEntries(process.argv.slice(3).map(s => {
  const at = s.indexOf('=')
  return [s.slice(0, at), s.slice(at + 1)]
}))
commands[process.argv[2]](args).catch(e => {
  say({ failed: String(e) })
  process.exitCode = 1
}).then(() => {
  // kafkajs may have connected twice to a node that came back; the first of these connections it never closes, and Node waits for it
  process.stdout.write('', () => process.exit())
})
