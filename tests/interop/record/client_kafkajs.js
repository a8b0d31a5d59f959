// kafkajs going through its motions. usage: NODE_PATH=<node_modules> node client_kafkajs.js <port> [sasl]
const { Kafka, logLevel, ConfigResourceTypes } = require('kafkajs')

const sasl = process.argv.includes('sasl')
const kafka = new Kafka({
  clientId: 'golden', brokers: ['127.0.0.1:' + process.argv[2]], logLevel: logLevel.NOTHING, retry: { retries: 1 },
  ...(sasl ? { sasl: { mechanism: 'plain', username: 'u', password: 'p' } } : {}),
})

async function attempt(what, call) {
  try {
    await call()
  } catch (e) {
    console.log(`kafkajs: ${what}: ${e.message}`)
  }
}

async function main() {
  for (const idempotent of [false, true]) {
    const producer = kafka.producer({ idempotent })
    await attempt('produce', async () => {
      await producer.connect()
      await producer.send({ topic: 'golden', messages: [{ key: 'k', value: 'v'.repeat(20), headers: { h: '1' } }] })
    })
    await producer.disconnect()
  }
  if (sasl) {
    return
  }
  const consumer = kafka.consumer({ groupId: 'readers', heartbeatInterval: 200, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic: 'golden', fromBeginning: true })
  let got = 0
  await consumer.run({ eachMessage: async () => { got += 1 } })
  for (let i = 0; i < 100 && got < 2; i++) {
    await new Promise(r => setTimeout(r, 50))
  }
  if (got < 2) {
    console.log(`kafkajs: ${got} of 2 messages`)
  }
  await attempt('commit', () => consumer.commitOffsets([{ topic: 'golden', partition: 0, offset: '1', metadata: 'why' }]))
  await new Promise(r => setTimeout(r, 500))
  await consumer.disconnect()

  const admin = kafka.admin()
  const topic = { type: ConfigResourceTypes.TOPIC, name: 'golden' }
  await admin.connect()
  await attempt('create topics', () => admin.createTopics({ topics: [{ topic: 'made', numPartitions: 2 }] }))
  await attempt('create partitions', () => admin.createPartitions({ topicPartitions: [{ topic: 'made', count: 4 }] }))
  await attempt('metadata', () => admin.fetchTopicMetadata({ topics: ['golden'] }))
  await attempt('offsets', () => admin.fetchTopicOffsets('golden'))
  await attempt('times', () => admin.fetchTopicOffsetsByTimestamp('golden', 1000))
  await attempt('group offsets', () => admin.fetchOffsets({ groupId: 'readers', topics: ['golden'] }))
  await attempt('all group offsets', () => admin.fetchOffsets({ groupId: 'readers' }))
  await attempt('describe configs', () => admin.describeConfigs({ resources: [topic] }))
  await attempt('alter configs', () => admin.alterConfigs({
    resources: [{ ...topic, configEntries: [{ name: 'retention.ms', value: '9' }] }] }))
  await attempt('list groups', () => admin.listGroups())
  await attempt('describe groups', () => admin.describeGroups(['readers']))
  await attempt('describe cluster', () => admin.describeCluster())
  await attempt('delete records', () => admin.deleteTopicRecords({
    topic: 'golden', partitions: [{ partition: 0, offset: '1' }] }))
  await attempt('alter reassignments', () => admin.alterPartitionReassignments({
    topics: [{ topic: 'golden', partitionAssignment: [{ partition: 0, replicas: [1, 2] }] }] }))
  await attempt('list reassignments', () => admin.listPartitionReassignments({}))
  await attempt('delete groups', () => admin.deleteGroups(['readers']))
  await attempt('delete topics', () => admin.deleteTopics({ topics: ['made'] }))
  await admin.disconnect()
}

main().then(() => { console.log('kafkajs: done') }, e => { console.log('kafkajs: ' + e.message) })
